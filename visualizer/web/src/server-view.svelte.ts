/**
 * One server's page: who it is, its columns, its alerts. In: answers, then live windows. Out: charts to draw, reactive.
 * Keeps: a hole left by a broken stream is filled before the charts move on; live windows newer than the last answer
 * survive it; nothing moves while a reader holds a time or draws a zoom.
 */
import { tick } from 'svelte';
import type { Alert, Query, Server } from './api';
import { app } from './app.svelte';
import { type Frame, fromQuery, type LiveWindow, newest, trimmed, withWindow } from './frame';
import { Live } from './live';
import { Loader } from './loader.svelte';
import { type Panels, panels } from './panels';
import { HOUR, isLive, last, MINUTE, type Range, resolve } from './time';
import { rangeOf } from './zoom';

const WINDOW = 10_000;
/** Windows this young may not have reached the store yet. */
const RECENT = 5 * MINUTE;
/** Without news for this long the right edge moves on by itself, so that silence shows as a gap. */
const EDGE_LAG = 30_000;

export class ServerView {
  readonly server: Loader<Server>;
  readonly query: Loader<Query>;
  readonly alerts: Loader<Alert[]>;
  frame = $state.raw<Frame | null>(null);
  /** The range the shown frame was asked for; charts are dimmed while it is not the page's. */
  shown = $state.raw<Range | null>(null);
  held = $state(false);
  private met = false;
  private turn = 0;
  private asked: Range | null = null;
  private recent: LiveWindow[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private live: Live | null = null;

  constructor(
    readonly name: string,
    private readonly width: () => number,
  ) {
    this.server = new Loader((signal) => app.api.server(name, signal), (s) => this.known(s));
    this.query = new Loader(
      (signal) => {
        this.asked = app.range;
        return app.api.query({ server: name, from: earlier(app.range), to: app.range.to, width: Math.max(200, Math.round(this.width())) }, signal);
      },
      (q) => this.loaded(q),
    );
    this.alerts = new Loader((signal) => app.api.alerts({ server: name, from: app.range.from, to: app.range.to, limit: 50 }, signal));
  }

  /** The time the charts show. A live one ends at the newest sample, so that its dot sits on the edge. */
  readonly span = $derived.by(() => {
    const f = this.frame;
    const range = this.shown;
    if (!f || !range) return null;
    const asked = resolve(range, app.now);
    if (!asked) return null;
    if (!isLive(range)) return asked;
    const floor = Math.floor((app.now - EDGE_LAG) / f.step) * f.step;
    const to = Math.max(newest(f) ?? 0, floor);
    return { from: to - (asked.to - asked.from), to };
  });

  readonly charts = $derived.by((): Panels => {
    const f = this.frame;
    const span = this.span;
    if (!f || !span || !this.shown) return { main: [], more: [] };
    const first = this.server.data ? Date.parse(this.server.data.first_seen) : null;
    const until = span.to > app.now - EDGE_LAG && !isLive(this.shown) ? app.now - EDGE_LAG : span.to;
    return panels(f, { ...span, live: isLive(this.shown), since: first, until });
  });

  readonly stale = $derived(this.shown !== null && (this.shown.from !== app.range.from || this.shown.to !== app.range.to));

  open(): () => void {
    app.dataAt = null;
    this.live = new Live({
      url: `/api/v1/live?server=${encodeURIComponent(this.name)}`,
      events: ['hello', 'window', 'alert', 'beat'],
      onEvent: (type, data) => this.event(type, data),
      onGap: () => void this.loadData(),
      onState: (s) => (app.live = s),
      onFailure: () => void app.who(),
    });
    return () => {
      this.live?.close();
      clearTimeout(this.timer);
      for (const l of [this.server, this.query, this.alerts]) l.stop();
    };
  }

  async load(): Promise<void> {
    const turn = ++this.turn;
    const server = this.server.load();
    // the usual range depends on the server's age; an address that names one need not wait
    if (rangeOf(app.search) === null && !this.server.data) {
      await server;
      // the answer may have changed the range, which loads by itself
      await tick();
      if (turn !== this.turn) return;
    }
    await this.loadData();
    this.live?.now();
  }

  async loadData(): Promise<void> {
    clearTimeout(this.timer);
    if (this.server.error?.kind === 'not-found') return;
    await Promise.all([this.query.load(), this.alerts.load()]);
    this.plan();
  }

  private plan(): void {
    clearTimeout(this.timer);
    const step = this.frame?.step ?? WINDOW;
    this.timer = setTimeout(() => {
      if (!app.isLive || this.held || document.visibilityState === 'hidden') this.plan();
      else {
        void this.server.load();
        void this.loadData();
      }
    }, Math.max(30_000, Math.min(step, 5 * MINUTE)));
  }

  private known(s: Server): void {
    // once: a page that is being read must not change its range when the server turns an hour old
    if (this.met || rangeOf(app.search) !== null) return;
    this.met = true;
    const young = app.clock() - Date.parse(s.first_seen) < HOUR;
    const wanted = last(young ? 15 * MINUTE : HOUR);
    if (app.fallback.from !== wanted.from) app.fallback = wanted;
  }

  private loaded(q: Query): void {
    let f = fromQuery(q);
    if (isLive(this.asked ?? app.range)) for (const w of this.recent) f = withWindow(f, w, true);
    this.frame = f;
    this.shown = this.asked;
    this.seen(f);
  }

  private event(type: string, data: unknown): void {
    if (type === 'window') this.window(data as LiveWindow);
    else if (type === 'alert') {
      void this.server.load();
      void this.loadData();
      void app.countAlerts();
    } else app.heard((data as { now: number }).now);
  }

  private window(w: LiveWindow): void {
    this.recent = [...this.recent.filter((r) => r.from >= w.from - RECENT), w];
    const f = this.frame;
    if (!f) return;
    if (this.shown && isLive(this.shown)) {
      let next = withWindow(f, w);
      const span = resolve(this.shown, app.clock());
      if (span) next = trimmed(next, span.from - 10 * next.step);
      this.frame = next;
    }
    this.seen(this.frame ?? f, w.from + w.step);
  }

  private seen(f: Frame, end?: number): void {
    const t = newest(f);
    const at = Math.max(end ?? 0, t === null ? 0 : t + f.step);
    if (at > (app.dataAt ?? 0)) app.dataAt = Math.min(at, app.clock());
  }
}

/** A live page ends at its newest sample, some time before now: its left end needs as much more. */
function earlier(range: Range): string {
  const now = app.clock();
  const span = resolve(range, now);
  if (!span || !isLive(range) || !range.from.startsWith('now')) return range.from;
  return `now-${Math.round((now - span.from) / 1000) + EDGE_LAG / 500}s`;
}
