/**
 * The page's one time range, as text in the address and as milliseconds for the charts.
 * In: `?from=now-1h&to=now` (relative, RFC 3339 or milliseconds). Out: a resolved range, presets, the zoom ladder.
 * Keeps: a range that does not parse falls back to the default, and `from` is always before `to`.
 */
import { clockShort, day, duration } from './format';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** A range as the reader wrote it: what the address bar and the API get. */
export interface Range {
  readonly from: string;
  readonly to: string;
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

const RELATIVE = /^now(?:-(\d{1,6})(s|m|h|d|w))?$/;
const SIZES: Record<string, number> = { s: SECOND, m: MINUTE, h: HOUR, d: DAY, w: 7 * DAY };

/** Milliseconds of one bound, or null when it is no time. */
export function parseTime(text: string, now: number): number | null {
  const t = text.trim();
  const rel = RELATIVE.exec(t);
  if (rel) return rel[1] === undefined ? now : now - Number(rel[1]) * SIZES[rel[2]];
  if (/^\d{12,14}$/.test(t)) return Number(t);
  if (/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/.test(t)) {
    // a time without a zone is UTC here, as everywhere on the page
    const zoned = /(Z|[+-]\d\d:\d\d)$/.test(t) || t.length === 10 ? t : t + 'Z';
    const ms = Date.parse(zoned.replace(' ', 'T'));
    return Number.isNaN(ms) ? null : ms;
  }
  return null;
}

/** Both bounds, or null when they make no range. */
export function resolve(range: Range, now: number): Span | null {
  const from = parseTime(range.from, now);
  const to = parseTime(range.to, now);
  return from !== null && to !== null && to - from >= SECOND ? { from, to } : null;
}

export const isLive = (range: Range): boolean => range.to.trim() === 'now';

/** The shortest relative text for a span that ends now. */
export function lastText(ms: number): string {
  for (const [unit, size] of [['d', DAY], ['h', HOUR], ['m', MINUTE]] as const) {
    if (ms >= size && ms % size === 0) return `now-${ms / size}${unit}`;
  }
  return `now-${Math.max(1, Math.round(ms / SECOND))}s`;
}

export const last = (ms: number): Range => ({ from: lastText(ms), to: 'now' });

/** An absolute range; whole seconds, so that an address stays readable. */
export function absolute(span: Span): Range {
  const text = (ms: number): string => new Date(Math.round(ms / SECOND) * SECOND).toISOString().replace('.000Z', 'Z');
  return { from: text(span.from), to: text(span.to) };
}

export interface Preset {
  readonly ms: number;
  readonly label: string;
}

export const PRESETS: readonly Preset[] = [
  { ms: 5 * MINUTE, label: 'Last 5 min' },
  { ms: 15 * MINUTE, label: 'Last 15 min' },
  { ms: HOUR, label: 'Last 1 h' },
  { ms: 2 * HOUR, label: 'Last 2 h' },
  { ms: 6 * HOUR, label: 'Last 6 h' },
  { ms: DAY, label: 'Last 24 h' },
  { ms: 7 * DAY, label: 'Last 7 d' },
  { ms: 30 * DAY, label: 'Last 30 d' },
];

/** What the range button says. */
export function rangeLabel(range: Range, now: number): string {
  const span = resolve(range, now);
  if (!span) return 'Choose a range';
  if (isLive(range)) return `Last ${duration(span.to - span.from)}`;
  const sameDay = day(span.from) === day(span.to);
  const start = `${day(span.from)}, ${clockShort(span.from)}`;
  return sameDay ? `${start} to ${clockShort(span.to)}` : `${start} to ${day(span.to)}, ${clockShort(span.to)}`;
}

/** Spans the zoom buttons walk through. */
const LADDER = [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY];

/** The next rung out (+1) or in (-1); around the centre, or ending now when the range is live. */
export function ladder(range: Range, direction: 1 | -1, now: number): Range | null {
  const span = resolve(range, now);
  if (!span) return null;
  const size = span.to - span.from;
  const next = direction > 0 ? LADDER.find((r) => r > size * 1.01) : LADDER.findLast((r) => r < size * 0.99);
  if (next === undefined) return null;
  if (isLive(range)) return last(next);
  const middle = (span.from + span.to) / 2;
  // never into the future: there is nothing there yet
  const to = Math.min(now, middle + next / 2);
  return absolute({ from: to - next, to });
}

/** Half a range earlier or later; null when later would pass now. */
export function shift(range: Range, direction: 1 | -1, now: number): Range | null {
  const span = resolve(range, now);
  if (!span) return null;
  const size = span.to - span.from;
  if (direction > 0 && (isLive(range) || span.to >= now - SECOND)) return null;
  const to = span.to + (direction * size) / 2;
  return to >= now ? last(Math.round(size / SECOND) * SECOND) : absolute({ from: to - size, to });
}
