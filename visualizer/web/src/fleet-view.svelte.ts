/**
 * The fleet page's knowledge. In: the fleet call now and then, live `server` events in between. Out: rows, worst first.
 * Keeps: a row's place changes only with its status or alerts, never with a value; an unknown server makes it ask again.
 */
import type { Fleet, FleetServer } from './api';
import { app } from './app.svelte';
import { Live } from './live';
import { Loader } from './loader.svelte';
import { worstFirst } from './status';
import { HOUR, last, MINUTE } from './time';
import { rangeOf } from './zoom';

interface ServerEvent {
  id: number;
  name: string;
  last_seen: number;
  cpu: number | null;
  memory: number | null;
  network: number | null;
  disk: { mountpoint: string; last: number } | null;
}

const USUAL = last(2 * HOUR);
const YOUNG = last(15 * MINUTE);

export class FleetView {
  readonly loader = new Loader<Fleet>(
    (signal) => app.api.fleet({ from: app.range.from, to: app.range.to }, signal),
    (fleet) => this.loaded(fleet),
  );
  rows = $state.raw<FleetServer[]>([]);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private live: Live | null = null;
  private soon = false;
  private readonly fresh = new Map<number, ServerEvent>();
  private flush: ReturnType<typeof setTimeout> | undefined;

  open(): () => void {
    app.dataAt = null;
    this.live = new Live({
      url: '/api/v1/live',
      events: ['hello', 'server', 'alert', 'beat'],
      onEvent: (type, data) => this.event(type, data),
      onGap: () => void this.load(),
      onState: (s) => (app.live = s),
      onFailure: () => void app.who(),
    });
    return () => {
      this.live?.close();
      this.loader.stop();
      clearTimeout(this.timer);
      clearTimeout(this.flush);
    };
  }

  async load(): Promise<void> {
    clearTimeout(this.timer);
    await this.loader.load();
    this.plan();
    this.live?.now();
  }

  private plan(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (document.visibilityState === 'hidden' ? this.plan() : void this.load()), this.pause());
  }

  /** Whoever looks at an empty fleet waits for its first server; a settled one changes by the width of a sparkline's sample. */
  private pause(): number {
    const fleet = this.loader.data;
    if (!fleet || fleet.servers.length === 0) return 1_000;
    return Math.min(60_000, Math.max(10_000, fleet.step));
  }

  private loaded(fleet: Fleet): void {
    this.rows = worstFirst(fleet.servers).map((row) => this.withLive(row));
    this.seen(Math.max(0, ...fleet.servers.map((s) => s.last_seen)));
    // in a fleet that has just begun, two hours of sparkline would be one dot
    const young = fleet.servers.length > 0 && fleet.servers.every((s) => s.heartbeat.slice(0, -1).every((b) => b === 'none'));
    const wanted = young ? YOUNG : USUAL;
    if (rangeOf(app.search) === null && app.fallback.from !== wanted.from) app.fallback = wanted;
  }

  private event(type: string, data: unknown): void {
    if (type === 'server') this.server(data as ServerEvent);
    else if (type === 'alert') {
      this.ask();
      void app.countAlerts();
    }
    else app.heard((data as { now: number }).now);
  }

  private server(e: ServerEvent): void {
    this.seen(e.last_seen);
    this.fresh.set(e.id, e);
    this.flush ??= setTimeout(() => this.apply(), 100);
  }

  /** A thousand servers speak within one window: their rows change together. */
  private apply(): void {
    this.flush = undefined;
    const known = new Set(this.rows.map((r) => r.id));
    for (const row of this.rows) if (row.status === 'silent' && this.fresh.has(row.id)) this.ask();
    for (const id of this.fresh.keys()) if (!known.has(id)) this.ask();
    this.rows = this.rows.map((row) => this.withLive(row));
  }

  /** What a server said last, where that is newer than the answer: a young window is on the stream before it is in the store. */
  private withLive(row: FleetServer): FleetServer {
    const e = this.fresh.get(row.id);
    if (!e || e.last_seen < row.last_seen) return row;
    return {
      ...row,
      last_seen: e.last_seen,
      cpu: { ...row.cpu, last: e.cpu ?? row.cpu.last },
      memory: { ...row.memory, last: e.memory ?? row.memory.last },
      network: { ...row.network, last: e.network ?? row.network.last },
      disk: e.disk ?? row.disk,
    };
  }

  /** Ask again in a moment: ten events at once are one question. */
  private ask(): void {
    if (this.soon) return;
    this.soon = true;
    setTimeout(() => {
      this.soon = false;
      void this.load();
    }, 800);
  }

  private seen(ms: number): void {
    if (ms > (app.dataAt ?? 0)) app.dataAt = ms;
  }
}

export { USUAL as FLEET_RANGE };
