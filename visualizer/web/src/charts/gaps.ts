/**
 * Where data is missing. In: columns with nulls. Out: the runs to draw and the gaps between them.
 * Keeps: a line is broken exactly where more than 2.5 of its own steps passed without a sample; a sender that reports every
 * 30 s is not full of holes on a 10 s grid, and one lost report is not a gap.
 */
import type { Column, Line } from './types';

/** A gap between two samples, in times; `partial` when some other line has data there. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly partial: boolean;
}

const TOLERANCE = 2.5;

/** The usual distance between two samples of a column, in steps of the grid. */
export function stride(c: Column): number {
  const distances: number[] = [];
  let before = -1;
  for (let i = 0; i < c.length; i++) {
    if (c[i] === null) continue;
    if (before >= 0) distances.push(i - before);
    before = i;
  }
  if (distances.length < 3) return 1;
  distances.sort((a, b) => a - b);
  return distances[distances.length >> 1];
}

// columns are never changed in place, so what was found out about one stays true
const reaches = new WeakMap<Column, number>();

/** The longest distance that still joins two samples, in steps. */
export function reach(c: Column): number {
  let r = reaches.get(c);
  if (r === undefined) {
    r = TOLERANCE * stride(c);
    reaches.set(c, r);
  }
  return r;
}

/** Indexes to draw, cut where the line breaks. */
export function runs(c: Column): number[][] {
  const far = reach(c);
  const out: number[][] = [];
  let run: number[] = [];
  for (let i = 0; i < c.length; i++) {
    if (c[i] === null) continue;
    if (run.length > 0 && i - run[run.length - 1] > far) {
      out.push(run);
      run = [];
    }
    run.push(i);
  }
  if (run.length > 0) out.push(run);
  return out;
}

type Interval = [number, number];

export interface Extent {
  readonly t0: number;
  readonly step: number;
  readonly from: number;
  readonly to: number;
  readonly since: number | null;
  readonly until?: number;
}

/** What one column lacks within the extent. Before its first sample and after its last one too. */
function missing(c: Column, e: Extent): Interval[] {
  const far = reach(c) * e.step;
  const at = (i: number): number => e.t0 + i * e.step;
  const begin = Math.max(e.from, e.since ?? e.from);
  const end = Math.min(e.to, e.until ?? e.to);
  const out: Interval[] = [];
  let before: number | null = null;
  for (let i = 0; i < c.length; i++) {
    if (c[i] === null) continue;
    const t = at(i);
    if (before === null) {
      if (t - begin > far) out.push([begin, t]);
    } else if (t - before > far) out.push([before, t]);
    before = t;
  }
  if (before === null) return end > begin ? [[begin, end]] : [];
  if (end - before > far) out.push([before, end]);
  return out;
}

function intersect(a: Interval[], b: Interval[]): Interval[] {
  const out: Interval[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const lo = Math.max(a[i][0], b[j][0]);
    const hi = Math.min(a[i][1], b[j][1]);
    if (hi > lo) out.push([lo, hi]);
    if (a[i][1] < b[j][1]) i++;
    else j++;
  }
  return out;
}

function subtract(a: Interval[], cut: Interval[]): Interval[] {
  let out = a;
  for (const [lo, hi] of cut) {
    out = out.flatMap(([x, y]): Interval[] => {
      if (hi <= x || lo >= y) return [[x, y]];
      const parts: Interval[] = [];
      if (lo > x) parts.push([x, lo]);
      if (hi < y) parts.push([hi, y]);
      return parts;
    });
  }
  return out;
}

function union(all: Interval[]): Interval[] {
  const out: Interval[] = [];
  for (const [lo, hi] of all.sort((a, b) => a[0] - b[0])) {
    const tail = out[out.length - 1];
    if (tail && lo <= tail[1]) tail[1] = Math.max(tail[1], hi);
    else out.push([lo, hi]);
  }
  return out;
}

/** Gaps of a whole chart: where every line lacks data, then where only some do. */
export function gaps(lines: readonly Line[], e: Extent): Gap[] {
  if (lines.length === 0) return [];
  const each = lines.map((l) => missing(l.avg, e));
  const full = each.reduce(intersect);
  // a line that begins or never speaks in this range (a new disk) is no hole in the others
  const some = union(
    lines.flatMap((l, i) => {
      const first = l.avg.findIndex((v) => v !== null);
      if (first < 0) return [];
      const start = e.t0 + first * e.step;
      return each[i].filter(([lo]) => lo >= start).map(([lo, hi]): Interval => [lo, hi]);
    }),
  );
  const partial = subtract(some, full).filter(([lo, hi]) => hi - lo > TOLERANCE * e.step);
  return [
    ...full.map(([from, to]) => ({ from, to, partial: false })),
    ...partial.map(([from, to]) => ({ from, to, partial: true })),
  ].sort((a, b) => a.from - b.from);
}

/** The value a reader sees at index i: its own, or the last one still in reach; null in a gap. */
export function valueAt(c: Column, i: number, far = reach(c)): number | null {
  if (i < 0 || i >= c.length) return null;
  for (let j = i; j >= 0 && i - j < far; j--) {
    const v = c[j];
    if (v === null) continue;
    // inside a gap the last value says nothing, unless the sample is the line's own
    if (j === i) return v;
    const next = c.findIndex((x, k) => k > i && x !== null);
    return next >= 0 ? (next - j <= far ? v : null) : v;
  }
  return null;
}

/** The last value a column has, for a legend that says "now". */
export function lastValue(c: Column): number | null {
  return valueAt(c, c.length - 1);
}
