/**
 * What all pages share: where we are, the time range, who is signed in, whether the service can be reached, and the clock.
 * In: the address bar, answers and failures. Out: reactive state. Keeps: the address says everything a reload needs;
 * `epoch` rises whenever pages have to ask again (signed in, back online).
 */
import { Api, ApiError, type Session } from './api';
import type { LiveState } from './live';
import { isLive, ladder, last, MINUTE, type Range, resolve, shift, type Span, absolute } from './time';
import { rangeOf, withRange, ZoomHistory } from './zoom';

export interface Wait {
  readonly until: number;
  readonly total: number;
  readonly requestId: string;
  readonly policy: string | null;
}

export class App {
  readonly api = new Api();
  readonly zooms = new ZoomHistory(window.history);

  path = $state(location.pathname);
  search = $state(location.search);
  /** What the page shows when the address names no range; each page sets its own. */
  fallback = $state<Range>(last(60 * MINUTE));

  session = $state<Session | null>(null);
  /** Since when a key is needed; null while signed in. `first`: nobody was signed in before on this page. */
  signedOut = $state<{ at: number; first: boolean } | null>(null);
  starting = $state(true);
  offlineSince = $state<number | null>(null);
  wait = $state<Wait | null>(null);
  /** The service answers from memory as of this time. */
  staleAsOf = $state<number | null>(null);
  epoch = $state(0);

  live = $state<LiveState>('closed');
  /** End of the newest data on the page, by the service's clock. */
  dataAt = $state<number | null>(null);
  openAlerts = $state(0);
  /** A reader holds a time on the charts: they wait. */
  held = $state(false);
  /** The service's clock; ticks every second. */
  now = $state(Date.now());
  private skew = 0;

  readonly range = $derived<Range>(rangeOf(this.search) ?? this.fallback);
  readonly isLive = $derived(isLive(this.range));

  start(): void {
    window.addEventListener('popstate', () => this.read());
    window.addEventListener('offline', () => this.lostNetwork());
    window.addEventListener('online', () => this.again());
    setInterval(() => this.tick(), 1000);
    void this.who();
  }

  /** Milliseconds now, by the service's clock. */
  clock(): number {
    return Date.now() + this.skew;
  }

  /** The service told its time. */
  heard(serverNow: number): void {
    // a late event must not pull the clock back by its own delay: only a real difference counts
    const skew = serverNow - Date.now();
    if (Math.abs(skew - this.skew) > 1500) this.skew = skew;
  }

  async who(): Promise<void> {
    try {
      this.session = await this.api.session();
      this.signedOut = null;
      this.reached();
    } catch (e) {
      this.failed(e);
    } finally {
      this.starting = false;
    }
  }

  async countAlerts(): Promise<void> {
    try {
      this.openAlerts = (await this.api.alerts({ status: 'firing', limit: 500 })).body.length;
    } catch (e) {
      this.failed(e);
    }
  }

  async signIn(key: string): Promise<void> {
    this.session = await this.api.signIn(key);
    this.signedOut = null;
    if (new URLSearchParams(this.search).has('sign-in')) this.go('/', true);
    this.again();
  }

  async signOut(): Promise<void> {
    await this.api.signOut().catch(() => undefined);
    this.session = null;
    this.signedOut = { at: this.clock(), first: true };
  }

  /** What every failed call means for the whole page; the caller shows its own part. */
  failed(e: unknown): ApiError {
    const error = e instanceof ApiError ? e : new ApiError('unavailable', e instanceof Error ? e.message : 'something broke on this page');
    if (error.kind === 'signed-out') this.signedOut ??= { at: this.clock(), first: this.session === null };
    else if (error.kind === 'offline') this.lostNetwork();
    else if (error.kind === 'too-many') {
      const seconds = error.retryAfter ?? 10;
      this.wait = { until: Date.now() + seconds * 1000, total: seconds, requestId: error.requestId, policy: error.policy };
    }
    return error;
  }

  reached(staleSeconds: number | null = null): void {
    this.offlineSince = null;
    this.staleAsOf = staleSeconds === null ? null : this.clock() - staleSeconds * 1000;
  }

  again(): void {
    this.wait = null;
    this.epoch += 1;
  }

  go(url: string, replace = false): void {
    this.zooms.go(url, replace);
    const page = this.path;
    this.read();
    if (page !== this.path) window.scrollTo(0, 0);
  }

  setRange(range: Range): void {
    this.go(withRange(this.path, this.search, range));
  }

  zoom(span: Span): void {
    this.zooms.push(withRange(this.path, this.search, absolute(span)));
    this.read();
  }

  zoomBack(): boolean {
    return this.zooms.back();
  }

  step(direction: 1 | -1): void {
    const r = shift(this.range, direction, this.clock());
    if (r) this.setRange(r);
  }

  scale(direction: 1 | -1): void {
    const r = ladder(this.range, direction, this.clock());
    if (r) this.setRange(r);
  }

  toggleLive(): void {
    const span = resolve(this.range, this.clock());
    if (!span) return;
    this.setRange(this.isLive ? absolute(span) : last(span.to - span.from));
  }

  /** A filter or the like: changes the address, adds no history. */
  setParam(name: string, value: string): void {
    const q = new URLSearchParams(this.search);
    if (value) q.set(name, value);
    else q.delete(name);
    const text = q.toString().replaceAll('%3A', ':');
    this.zooms.go(this.path + (text ? `?${text}` : ''), true);
    this.read();
  }

  private lostNetwork(): void {
    this.offlineSince ??= this.clock();
  }

  private read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  private tick(): void {
    this.now = this.clock();
    if (this.wait && Date.now() >= this.wait.until) this.again();
  }
}

export const app = new App();
