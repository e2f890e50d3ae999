/**
 * Axes: how far a scale goes and where its ticks stand.
 * In: extents and pixels. Out: domains and ticks. Keeps: two to four labelled y ticks; at least 74 px between x ticks.
 */
import { ticks as linearTicks } from 'd3-array';
import { scaleLinear, scaleLog, scaleUtc } from 'd3-scale';
import { clock, clockShort, day } from '../format';
import type { ChartSpec, Column, Line } from './types';

const X_GAP = 74;
const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;
const INTERVALS = [S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, M, 2 * M, 5 * M, 10 * M, 15 * M, 30 * M, H, 2 * H, 3 * H, 6 * H, 12 * H, D, 2 * D, 7 * D, 14 * D, 28 * D, 91 * D, 364 * D];

export interface XTick {
  readonly t: number;
  readonly label: string;
  readonly midnight: boolean;
}

/** Ticks on round times; a midnight carries its date. */
export function xTicks(from: number, to: number, width: number): XTick[] {
  if (!(to > from) || width <= 0) return [];
  const fits = (ms: number): boolean => (ms / (to - from)) * width >= X_GAP;
  const every = INTERVALS.find(fits) ?? INTERVALS[INTERVALS.length - 1];
  const out: XTick[] = [];
  for (let t = Math.ceil(from / every) * every; t <= to; t += every) {
    const midnight = t % D === 0;
    out.push({ t, midnight, label: midnight ? day(t) : every < M ? clock(t) : clockShort(t) });
  }
  return out;
}

export interface YScale {
  readonly low: number;
  readonly high: number;
  readonly log: boolean;
}

/** Smallest and largest value drawn, and the smallest above zero. */
export function extent(columns: Iterable<Column>): { min: number; max: number; positive: number; zeros: boolean } | null {
  let min = Infinity;
  let max = -Infinity;
  let positive = Infinity;
  let zeros = false;
  for (const c of columns) {
    for (const v of c) {
      if (v === null) continue;
      if (v < min) min = v;
      if (v > max) max = v;
      if (v > 0) {
        if (v < positive) positive = v;
      } else zeros = true;
    }
  }
  return max === -Infinity ? null : { min, max, positive, zeros };
}

/** The y scale: from zero, to the fixed top where there is one, logarithmic where two decades are passed. */
export function yScale(spec: ChartSpec, drawn: readonly Line[], band: Line['band']): YScale {
  const columns: Column[] = [];
  for (const l of drawn) columns.push(l.max ?? l.avg, l.min ?? l.avg);
  if (band) columns.push(band.high);
  const e = extent(columns);
  if (spec.top !== undefined) return { low: Math.min(0, e?.min ?? 0), high: Math.max(spec.top, e && e.max > spec.top * 1.05 ? e.max : 0), log: false };
  if (!e) return { low: 0, high: spec.leastTop ?? 1, log: false };
  if (spec.scale === 'auto' && !e.zeros && e.max / e.positive > 100) {
    return { low: 10 ** Math.floor(Math.log10(e.positive)), high: e.max * 1.6, log: true };
  }
  const low = Math.min(0, e.min * 1.08);
  let high = Math.max(e.max * 1.12, spec.leastTop ?? 0);
  if (spec.mostTop !== undefined) high = Math.max(Math.min(high, spec.mostTop), Math.min(e.max, spec.mostTop));
  for (const l of spec.limits ?? []) if (l.value > high && l.value < high * 2.5) high = l.value * 1.06;
  return { low, high: high > low ? high : low + 1, log: false };
}

/** Two to four ticks in display units (`divisor` of the axis); zero is the base line and needs no label. */
export function yTicks(y: YScale, divisor: number): number[] {
  if (y.log) {
    const out: number[] = [];
    // decades of the axis' own unit: a round number of bytes is no round number of GiB
    for (let p = Math.floor(Math.log10(y.low / divisor)); 10 ** p * divisor <= y.high; p++) out.push(10 ** p * divisor);
    const inside = out.filter((v) => v > y.low * 1.01);
    while (inside.length > 4) for (let i = inside.length - 2; i >= 0; i -= 2) inside.splice(i, 1);
    return inside;
  }
  const high = y.high / divisor;
  const low = y.low / divisor;
  let best: number[] = [];
  for (const n of [3, 4, 2, 5, 6]) {
    const t = linearTicks(low, high, n).filter((v) => v !== 0 || y.low < 0);
    if (t.length >= 2 && t.length <= 4) return t.map((v) => v * divisor);
    if (best.length === 0 || (t.length > 0 && t.length < best.length)) best = t;
  }
  return best.slice(-4).map((v) => v * divisor);
}

export interface Scales {
  readonly x: (t: number) => number;
  readonly y: (v: number) => number;
  readonly time: (px: number) => number;
}

/** Pixel functions; y of a value at or below zero on a log axis is the base line. */
export function scales(from: number, to: number, y: YScale, width: number, height: number): Scales {
  const time = scaleUtc([from, to], [0, width]);
  const value = (y.log ? scaleLog : scaleLinear)([y.low, y.high], [height, 0]);
  return {
    x: (t) => time(t),
    y: y.log ? (v) => (v <= y.low ? height : value(v)) : (v) => value(v),
    time: (px) => time.invert(px).getTime(),
  };
}
