/**
 * Sparklines and heartbeats as SVG path text. In: columns, statuses. Out: path data.
 * Keeps: sparklines are water levels filled to the base; they break where data is missing; a heartbeat's height tells its
 * status before its colour does.
 */
import type { Beat } from '../api';
import { runs } from './gaps';
import type { Column } from './types';

export interface Spark {
  readonly line: string;
  readonly fill: string;
  /** The newest sample, when it is at the right edge. */
  readonly dot: readonly [number, number] | null;
}

const round = (v: number): number => Math.round(v * 10) / 10;

export function spark(column: Column, width: number, height: number, top: number): Spark {
  const n = column.length;
  const x = (i: number): number => round(n > 1 ? (i / (n - 1)) * (width - 3) + 1 : width - 2);
  const y = (v: number): number => round(height - 1.5 - Math.min(1, Math.max(0, v / top)) * (height - 4));
  let line = '';
  let fill = '';
  for (const run of runs(column)) {
    const points = run.map((i) => `${x(i)},${y(column[i] ?? 0)}`);
    if (points.length === 1) points.push(`${x(run[0]) + 0.5},${y(column[run[0]] ?? 0)}`);
    line += 'M' + points.join('L');
    fill += `M${x(run[0])},${height}L${points.join('L')}L${x(run[run.length - 1])},${height}Z`;
  }
  const i = column.findLastIndex((v) => v !== null);
  return { line, fill, dot: i >= 0 && n - 1 - i <= 2 ? [x(i), y(column[i] ?? 0)] : null };
}

/** The top of a scale of its own: the largest value with some air. */
export function ownTop(column: Column): number {
  let max = 0;
  for (const v of column) if (v !== null && v > max) max = v;
  return max > 0 ? max * 1.15 : 1;
}

export const BEAT_HEIGHT = 16;
const HEIGHTS: Record<Beat, number> = { none: 0, ok: 3, learning: 3, odd: 8, warning: 12, critical: 16, silent: 12 };
export const BEATS: readonly Beat[] = ['ok', 'learning', 'odd', 'warning', 'critical', 'silent'];

/** One path for each status: 48 bars are six elements, not 48. */
export function heartbeat(beats: readonly Beat[], pitch: number, bar: number): { status: Beat; path: string }[] {
  return BEATS.flatMap((status) => {
    let path = '';
    beats.forEach((b, i) => {
      if (b !== status) return;
      const h = HEIGHTS[b];
      // half a pixel in for the hollow one: its edge is a stroke
      path += b === 'silent' ? `M${i * pitch + 0.5} ${BEAT_HEIGHT - h + 0.5}h${bar - 1}v${h - 1}h${1 - bar}Z` : `M${i * pitch} ${BEAT_HEIGHT - h}h${bar}v${h}h${-bar}Z`;
    });
    return path ? [{ status, path }] : [];
  });
}

/** The heartbeat in words. */
export function heartbeatText(beats: readonly Beat[]): string {
  const n = new Map<Beat, number>();
  for (const b of beats) n.set(b, (n.get(b) ?? 0) + 1);
  const parts = (['critical', 'warning', 'silent', 'odd', 'learning', 'ok'] as const).flatMap((s) => (n.has(s) ? [`${n.get(s)} ${s}`] : []));
  return `Last 24 h in half hours: ${parts.length > 0 ? parts.join(', ') : 'nothing received'}`;
}
