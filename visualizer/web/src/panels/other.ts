/**
 * Every metric no panel has taken: one chart for each metric name, one line for each label set, so that what a foreign
 * producer sends shows without any configuration.
 */
import type { ChartSpec } from '../charts/types';
import type { Unit } from '../format';
import type { FrameSeries } from '../frame';
import type { Build } from './build';

/** Series that describe rather than measure. */
const NEVER = /(_info|^node_boot_time_seconds|_start_time_seconds|^node_time_seconds)$/;

export function others(b: Build): ChartSpec[] {
  return b
    .metrics()
    .filter((m) => !b.used.has(m) && !NEVER.test(m))
    .flatMap((metric) => {
      const series = b.look(metric);
      const names = distinct(series);
      const counter = series[0].kind === 'counter';
      const unit = unitOf(metric, series[0].unit, counter);
      // seconds a second is a share of time
      const share = counter && unit === 'percent';
      const lines = series.map((s, i) => b.line(s, names[i], share ? (v) => v * 100 : undefined));
      const sub = [share ? 'of time' : '', unit === 'number' && series[0].unit ? series[0].unit : '', names.length > 1 ? `by ${varying(series).join(', ')}` : ''].filter(Boolean).join(' ');
      const spec = b.spec({ id: `metric-${metric}`, title: metric, sub, unit, lines, scale: 'auto', ...(unit === 'percent' ? { leastTop: 5 } : {}) });
      return spec ? [spec] : [];
    });
}

/** The unit of a metric, from what its sender says, else from how metrics are usually named. */
export function unitOf(metric: string, said: string, counter: boolean): Unit {
  const s = said.toLowerCase();
  if (s === 'bytes' || s === 'by' || s === 'byte') return counter ? 'bytes/s' : 'bytes';
  if (s === 'percent' || s === '%') return 'percent';
  if (s === 'seconds' || s === 's') return counter ? 'percent' : 'seconds';
  if (/bytes_per_second$/.test(metric)) return 'bytes/s';
  if (counter) return /_bytes(_total)?$/.test(metric) ? 'bytes/s' : /_seconds(_total)?$/.test(metric) ? 'percent' : 'per second';
  if (/_bytes$/.test(metric)) return 'bytes';
  if (/(_percent|_pct)$/.test(metric)) return 'percent';
  if (/_seconds$/.test(metric)) return 'seconds';
  return 'number';
}

/** Labels that tell the series apart: one alone where one is enough, the most telling first. */
export function varying(series: readonly FrameSeries[]): string[] {
  const names = [...new Set(series.flatMap((s) => Object.keys(s.labels)))].sort();
  const values = (n: string): number => new Set(series.map((s) => s.labels[n] ?? '')).size;
  const differ = names.filter((n) => values(n) > 1);
  const alone = differ.filter((n) => values(n) === series.length);
  const telling = ['mountpoint', 'device', 'interface', 'name'].find((n) => alone.includes(n)) ?? alone[0];
  return telling === undefined ? differ : [telling];
}

function distinct(series: readonly FrameSeries[]): string[] {
  const by = series.length > 1 ? varying(series) : Object.keys(series[0].labels).sort();
  if (by.length === 0) return series.map((s) => s.metric);
  // a bare number names nothing: "fan 3", not "3"
  const word = (name: string, text: string): string => (/^\d+$/.test(text) ? `${name} ${text}` : text);
  return series.map((s) => by.map((n) => word(n, s.labels[n] ?? '–')).join(' '));
}
