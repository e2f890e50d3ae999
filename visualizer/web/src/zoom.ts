/**
 * The way back out of a zoom. Each zoom pushes one entry onto the browser's history and remembers how deep it is, so
 * that Esc, double-click and the Back button all walk the same path, and a reload keeps it.
 * In: zooms, pops. Out: ranges. Keeps: depth in `history.state` always equals the zooms below the current entry.
 */
import type { Range } from './time';

export interface ZoomState {
  readonly depth: number;
}

/** The part of `window.history` used here, so that a test can stand in for it. */
export interface HistoryLike {
  readonly state: unknown;
  pushState(state: unknown, unused: string, url: string): void;
  replaceState(state: unknown, unused: string, url: string): void;
  back(): void;
}

export function depthOf(state: unknown): number {
  const depth = (state as ZoomState | null)?.depth;
  return typeof depth === 'number' && depth > 0 ? depth : 0;
}

export class ZoomHistory {
  constructor(private readonly history: HistoryLike) {}

  get depth(): number {
    return depthOf(this.history.state);
  }

  /** A zoom in: a new entry, one deeper. */
  push(url: string): void {
    this.history.pushState({ depth: this.depth + 1 }, '', url);
  }

  /** Any other change of range or page: a new path that starts here. */
  go(url: string, replace = false): void {
    if (replace) this.history.replaceState({ depth: this.depth }, '', url);
    else this.history.pushState({ depth: 0 }, '', url);
  }

  /** One zoom back; false when there is none to undo. */
  back(): boolean {
    if (this.depth === 0) return false;
    this.history.back();
    return true;
  }
}

/** The address with another range; everything else in it stays. */
export function withRange(path: string, search: string, range: Range): string {
  const q = new URLSearchParams(search);
  q.set('from', range.from);
  q.set('to', range.to);
  // colons are legal in a query and far easier to read than %3A
  return `${path}?${q.toString().replaceAll('%3A', ':')}`;
}

/** The range an address names, or null. */
export function rangeOf(search: string): Range | null {
  const q = new URLSearchParams(search);
  const from = q.get('from');
  return from === null ? null : { from, to: q.get('to') ?? 'now' };
}
