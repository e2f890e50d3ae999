/**
 * The live tail: one server-sent event stream, kept open for as long as the page is looked at.
 * In: the stream's address. Out: its events, the state of the connection, and `onGap` whenever events may have been missed.
 * Keeps: after any break (error, silence, hidden tab) the service tells what was missed, or `onGap` runs once the stream is
 * open again: no hole is left unfilled.
 */
export type LiveState = 'connecting' | 'open' | 'lost' | 'paused' | 'closed';

/** What is used of `EventSource`; a test passes its own. */
export interface Source {
  onopen: (() => void) | null;
  onerror: (() => void) | null;
  addEventListener(type: string, f: (e: { data: string; lastEventId: string }) => void): void;
  close(): void;
}

export interface LiveOptions {
  readonly url: string;
  readonly events: readonly string[];
  readonly onEvent: (type: string, data: unknown) => void;
  /** Events may be missing: fetch what lies between. */
  readonly onGap: () => void;
  readonly onState?: (state: LiveState) => void;
  /** The stream failed; the caller may find out why (a key that ended looks the same as a network that went). */
  readonly onFailure?: () => void;
  readonly open?: (url: string) => Source;
  readonly page?: Pick<Document, 'visibilityState' | 'addEventListener' | 'removeEventListener'>;
  readonly random?: () => number;
}

/** The service beats every 5 s; three missed beats mean the connection is dead though nobody said so. */
export const SILENCE_MS = 16_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

export class Live {
  private source: Source | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private watch: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private missed = false;
  /** Up to where the service has told everything. */
  private lastId = '';
  private done = false;
  private current: LiveState = 'connecting';
  private readonly onVisibility = (): void => this.visibility();

  constructor(private readonly o: LiveOptions) {
    this.page.addEventListener('visibilitychange', this.onVisibility);
    if (this.page.visibilityState === 'hidden') this.pause();
    else this.connect();
  }

  get state(): LiveState {
    return this.current;
  }

  /** Try again at once, e.g. when the network came back or someone signed in. */
  now(): void {
    if (this.done || this.current === 'open' || this.current === 'paused') return;
    this.failures = 0;
    this.connect();
  }

  close(): void {
    this.done = true;
    this.drop();
    this.page.removeEventListener('visibilitychange', this.onVisibility);
    this.set('closed');
  }

  private get page(): NonNullable<LiveOptions['page']> {
    return this.o.page ?? document;
  }

  private connect(): void {
    this.drop();
    this.set(this.failures === 0 ? 'connecting' : 'lost');
    const source = (this.o.open ?? ((url) => new EventSource(url) as unknown as Source))(this.address());
    this.source = source;
    this.arm();
    source.onopen = () => {
      this.failures = 0;
      this.set('open');
      this.arm();
      if (!this.missed) return;
      this.missed = false;
      // with an id the service says itself whether something is missing
      if (!this.lastId) this.o.onGap();
    };
    source.onerror = () => this.fail();
    source.addEventListener('resync', (e) => {
      this.heard(e.lastEventId);
      this.o.onGap();
    });
    for (const type of this.o.events) {
      source.addEventListener(type, (e) => {
        this.heard(e.lastEventId);
        const data = parse(e.data);
        if (data !== undefined) this.o.onEvent(type, data);
      });
    }
  }

  private address(): string {
    if (!this.lastId) return this.o.url;
    return `${this.o.url}${this.o.url.includes('?') ? '&' : '?'}last_event_id=${encodeURIComponent(this.lastId)}`;
  }

  private heard(id: string): void {
    this.arm();
    if (id) this.lastId = id;
  }

  private fail(): void {
    // the browser's own retry gives up for good on an HTTP error, so retrying is done here
    this.drop();
    this.missed = true;
    this.failures += 1;
    this.set('lost');
    this.o.onFailure?.();
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1));
    const jitter = 0.75 + (this.o.random ?? Math.random)() * 0.5;
    this.retry = setTimeout(() => this.connect(), wait * jitter);
  }

  private visibility(): void {
    if (this.done) return;
    if (this.page.visibilityState === 'hidden') this.pause();
    else if (this.current === 'paused') {
      this.failures = 0;
      this.connect();
    }
  }

  private pause(): void {
    this.drop();
    this.missed = true;
    this.set('paused');
  }

  private arm(): void {
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.fail(), SILENCE_MS);
  }

  private drop(): void {
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    if (this.source) {
      this.source.onopen = this.source.onerror = null;
      this.source.close();
      this.source = null;
    }
  }

  private set(state: LiveState): void {
    if (state === this.current) return;
    this.current = state;
    this.o.onState?.(state);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // one torn event is not worth a broken page; the next refetch has its data
    return undefined;
  }
}
