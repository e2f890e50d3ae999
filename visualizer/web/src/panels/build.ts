/**
 * What every panel is built with: series by metric, sums and ratios of columns, and anomalies brought to the lines they
 * belong to. Keeps: a null in any part is a null in the result, never a zero.
 */
import type { ChartSpec, Column, Line, Odd } from '../charts/types';
import { type Frame, type FrameSeries, seriesKey } from '../frame';

export interface View {
  readonly from: number;
  readonly to: number;
  readonly live: boolean;
  readonly since: number | null;
  readonly until?: number;
}

/** A line that knows which series it was made of, so that their anomalies find it. */
export interface Made extends Line {
  readonly sources: readonly string[];
}

type Part = Omit<ChartSpec, 't0' | 'step' | 'from' | 'to' | 'live' | 'since' | 'until' | 'odd' | 'lines'> & { readonly lines: readonly Made[] };

export class Build {
  readonly used = new Set<string>();
  private readonly byMetric = new Map<string, FrameSeries[]>();

  constructor(
    readonly frame: Frame,
    private readonly view: View,
  ) {
    for (const s of frame.series.values()) {
      const list = this.byMetric.get(s.metric);
      if (list) list.push(s);
      else this.byMetric.set(s.metric, [s]);
    }
  }

  metrics(): string[] {
    return [...this.byMetric.keys()].sort();
  }

  /** All series of a metric, in a stable order; the metric counts as drawn from here on. */
  take(metric: string): FrameSeries[] {
    this.used.add(metric);
    return this.look(metric);
  }

  look(metric: string): FrameSeries[] {
    return [...(this.byMetric.get(metric) ?? [])].sort((a, b) => a.key.localeCompare(b.key, 'en', { numeric: true }));
  }

  one(metric: string): FrameSeries | undefined {
    return this.take(metric)[0];
  }

  isOdd(metric: string): boolean {
    return this.frame.anomalies.some((a) => a.metric === metric);
  }

  /** A series as a line, every value passed through `f`. */
  line(s: FrameSeries, name: string, f?: (v: number) => number): Made {
    const map = (c: Column): Column => (f ? c.map((v) => (v === null ? null : f(v))) : c);
    const band = s.expected && { low: map(s.expected.low), high: map(s.expected.high) };
    return { key: s.key, name, avg: map(s.avg), min: map(s.min), max: map(s.max), band, sources: [s.key] };
  }

  /** One line of several columns. No envelope: the sum of extremes is not the extreme of the sum. */
  derived(key: string, name: string, parts: readonly FrameSeries[], f: (values: readonly number[]) => number | null): Made {
    const avg: (number | null)[] = [];
    const values: number[] = [];
    for (let i = 0; i < this.frame.length; i++) {
      values.length = 0;
      for (const p of parts) {
        const v = p.avg[i];
        if (v === null || v === undefined) break;
        values.push(v);
      }
      avg.push(values.length === parts.length && parts.length > 0 ? f(values) : null);
    }
    return { key, name, avg, sources: parts.map((p) => p.key) };
  }

  spec(part: Part): ChartSpec | null {
    if (part.lines.length === 0) return null;
    const { frame, view } = this;
    return { ...part, t0: frame.t0, step: frame.step, from: view.from, to: view.to, live: view.live, since: view.since, until: view.until, odd: this.odd(part.lines) };
  }

  private odd(lines: readonly Made[]): Odd[] {
    const owner = new Map<string, Made>();
    // a line of one source is nearer to an anomaly than one that sums it up
    for (const l of [...lines].sort((a, b) => b.sources.length - a.sources.length)) for (const s of l.sources) owner.set(s, l);
    return this.frame.anomalies.flatMap((a) => {
      const line = owner.get(seriesKey(a.metric, a.labels));
      if (!line || a.to < this.view.from || a.from > this.view.to) return [];
      return [{ key: line.key, from: a.from, to: a.to, score: a.score, value: this.valueNear(line, a.from) ?? a.value }];
    });
  }

  /** The line's own value at or just after a time: where the diamond sits. */
  private valueNear(line: Made, t: number): number | null {
    const first = Math.max(0, Math.round((t - this.frame.t0) / this.frame.step));
    for (let i = first; i < Math.min(line.avg.length, first + 4); i++) if (line.avg[i] !== null) return line.avg[i];
    return null;
  }
}

/** The newest known value of a series. */
export function latest(s: FrameSeries | undefined): number | null {
  return s?.avg.findLast((v) => v !== null) ?? null;
}

export function total(values: readonly number[]): number {
  let sum = 0;
  for (const v of values) sum += v;
  return sum;
}

/** Whether a line ever leaves zero by more than `least`. */
export function alive(l: Line, least: number): boolean {
  return l.avg.some((v) => v !== null && Math.abs(v) > least);
}
