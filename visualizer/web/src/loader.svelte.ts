/**
 * One thing a page asks for. In: a fetcher. Out: `data`, `error`, `loading`, reactive.
 * Keeps: a new call ends the one before it; what was shown stays until something better came; what can heal is tried again
 * by itself (offline, unavailable), what can't is left to the reader (not found, forbidden).
 */
import type { Answer, ApiError } from './api';
import { app } from './app.svelte';

const FIRST_RETRY_MS = 2000;
const LAST_RETRY_MS = 15_000;

export class Loader<T> {
  data = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(false);
  /** When the shown data was fetched. */
  at = $state(0);
  private abort: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;

  constructor(
    private readonly fetcher: (signal: AbortSignal) => Promise<Answer<T>>,
    private readonly onData: (data: T) => void = () => undefined,
  ) {}

  async load(): Promise<void> {
    this.stop();
    const abort = new AbortController();
    this.abort = abort;
    this.loading = true;
    try {
      const answer = await this.fetcher(abort.signal);
      if (abort.signal.aborted) return;
      this.failures = 0;
      this.error = null;
      this.data = answer.body;
      this.at = app.clock();
      app.reached(answer.staleSeconds);
      this.onData(answer.body);
    } catch (e) {
      if (abort.signal.aborted) return;
      this.error = app.failed(e);
      this.plan(this.error);
    } finally {
      if (this.abort === abort) this.loading = false;
    }
  }

  /** Forget what was shown, e.g. when the page is about something else now. */
  clear(): void {
    this.stop();
    this.data = null;
    this.error = null;
  }

  stop(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
    this.loading = false;
  }

  private plan(e: ApiError): void {
    // 401 and 429 come back through `app.epoch`, when someone signed in or the wait is over
    if (e.kind !== 'offline' && e.kind !== 'unavailable') return;
    this.failures += 1;
    const own = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1));
    this.timer = setTimeout(() => void this.load(), Math.max(own, (e.retryAfter ?? 0) * 1000));
  }
}
