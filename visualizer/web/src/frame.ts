/**
 * What the server page knows: one column set for each series, on one grid.
 * In: a query answer, then live windows. Out: a new frame each time (columns are never changed in place).
 * Keeps: a window seen twice changes nothing; a window outside the grid is ignored; all columns have the same length.
 */
import type { Anomaly, Column, Query } from './api';

export interface FrameSeries {
  readonly key: string;
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kind: 'gauge' | 'counter' | 'histogram';
  readonly unit: string;
  readonly avg: Column;
  readonly min: Column;
  readonly max: Column;
  readonly expected: { low: Column; high: Column } | null;
}

export interface Frame {
  readonly t0: number;
  readonly step: number;
  readonly length: number;
  readonly series: ReadonlyMap<string, FrameSeries>;
  readonly anomalies: readonly Anomaly[];
}

/** A `window` event of the live stream. */
export interface LiveWindow {
  readonly server: string;
  readonly from: number;
  readonly step: number;
  readonly series: readonly {
    readonly metric: string;
    readonly labels?: Record<string, string>;
    readonly kind?: 'gauge' | 'counter';
    readonly avg: number | null;
    readonly min: number | null;
    readonly max: number | null;
  }[];
}

/** The identity of a series on this page: its metric and its labels in order. */
export function seriesKey(metric: string, labels: Readonly<Record<string, string>> = {}): string {
  const names = Object.keys(labels).sort();
  return names.length === 0 ? metric : `${metric}{${names.map((n) => `${n}=${labels[n]}`).join(',')}}`;
}

export function fromQuery(q: Query): Frame {
  const series = new Map<string, FrameSeries>();
  let length = Math.max(0, Math.ceil((q.to - (q.series[0]?.t0 ?? q.from)) / q.step));
  for (const s of q.series) length = Math.max(length, s.avg.length);
  for (const s of q.series) {
    const key = seriesKey(s.metric, s.labels);
    series.set(key, { key, metric: s.metric, labels: s.labels, kind: s.kind, unit: s.unit, avg: pad(s.avg, length), min: pad(s.min, length), max: pad(s.max, length), expected: s.expected });
  }
  const t0 = q.series[0]?.t0 ?? Math.floor(q.from / q.step) * q.step;
  return { t0, step: q.step, length, series, anomalies: q.anomalies };
}

function pad(c: Column, length: number): Column {
  return c.length >= length ? c : [...c, ...new Array<null>(length - c.length).fill(null)];
}

/** The frame with one live window in it; `keep` leaves values that are already known. */
export function withWindow(f: Frame, w: LiveWindow, keep = false): Frame {
  const i = (w.from - f.t0) / f.step;
  if (w.step !== f.step || i < 0 || !Number.isInteger(i)) return f;
  const length = Math.max(f.length, i + 1);
  const series = new Map<string, FrameSeries>();
  for (const s of f.series.values()) {
    series.set(s.key, length === f.length ? s : { ...s, avg: pad(s.avg, length), min: pad(s.min, length), max: pad(s.max, length) });
  }
  for (const v of w.series) {
    const labels = v.labels ?? {};
    const key = seriesKey(v.metric, labels);
    const s = series.get(key);
    if (s && keep && s.avg[i] !== null) continue;
    const empty = (): Column => new Array<null>(length).fill(null);
    const put = (c: Column | undefined, x: number | null): Column => {
      const out = c ? c.slice() : empty();
      out[i] = x;
      return out;
    };
    series.set(key, {
      key, metric: v.metric, labels, kind: v.kind ?? s?.kind ?? 'gauge', unit: s?.unit ?? '', expected: s?.expected ?? null,
      avg: put(s?.avg, v.avg), min: put(s?.min, v.min), max: put(s?.max, v.max),
    });
  }
  return { ...f, length, series };
}

/** The frame without what lies before `from`, so that a page open for days stays small. */
export function trimmed(f: Frame, from: number): Frame {
  const drop = Math.floor((from - f.t0) / f.step);
  // in larger bites: cutting one sample off each column on every step would copy everything every time
  if (drop < 60) return f;
  const cut = (c: Column): Column => c.slice(drop);
  const series = new Map<string, FrameSeries>();
  for (const s of f.series.values()) {
    const expected = s.expected && { low: cut(s.expected.low), high: cut(s.expected.high) };
    series.set(s.key, { ...s, avg: cut(s.avg), min: cut(s.min), max: cut(s.max), expected });
  }
  return { ...f, t0: f.t0 + drop * f.step, length: f.length - drop, series };
}

/** Time of the newest sample of any series; null without one. */
export function newest(f: Frame): number | null {
  let best = -1;
  for (const s of f.series.values()) {
    for (let i = s.avg.length - 1; i > best; i--) {
      if (s.avg[i] !== null) {
        best = i;
        break;
      }
    }
  }
  return best < 0 ? null : f.t0 + best * f.step;
}
