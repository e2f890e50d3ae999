/** CPU by mode and by core, and load. Counters come as rates: CPU seconds a second, so 1 is one core fully used. */
import type { ChartSpec } from '../charts/types';
import type { FrameSeries } from '../frame';
import { alive, type Build, total } from './build';

const MODES = ['user', 'iowait', 'system', 'softirq', 'steal', 'irq', 'nice'];
const ALWAYS = new Set(['user', 'iowait', 'system']);

function grouped(series: readonly FrameSeries[], label: string): Map<string, FrameSeries[]> {
  const out = new Map<string, FrameSeries[]>();
  for (const s of series) {
    const name = s.labels[label] ?? '';
    const list = out.get(name);
    if (list) list.push(s);
    else out.set(name, [s]);
  }
  return out;
}

/** How many cores the host has: as it says, else as many as it reports on. */
export function coreCount(b: Build): number {
  const said = Number(b.look('tidewatch_host_info')[0]?.labels.cores);
  if (said > 0) return said;
  return new Set(b.look('node_cpu_seconds_total').map((s) => s.labels.cpu)).size;
}

export function cpu(b: Build): ChartSpec | null {
  const busy = b.one('tidewatch_host_cpu_busy_percent');
  const modes = grouped(b.take('node_cpu_seconds_total'), 'mode');
  const cores = coreCount(b);
  const lines = busy ? [b.line(busy, 'busy')] : [];
  for (const mode of MODES) {
    const parts = modes.get(mode);
    if (!parts) continue;
    const line = b.derived(`mode:${mode}`, mode, parts, (v) => (100 * total(v)) / Math.max(1, cores));
    if (ALWAYS.has(mode) || alive(line, 0.05)) lines.push(line);
  }
  return b.spec({ id: 'cpu', title: 'CPU by mode', sub: 'of all cores', unit: 'percent', lines, leastTop: 10, mostTop: 100, bandOf: busy?.key });
}

export function cores(b: Build): ChartSpec | null {
  const idle = b.take('node_cpu_seconds_total').filter((s) => s.labels.mode === 'idle');
  if (idle.length === 0) return null;
  const lines = idle.map((s) => b.derived(`core:${s.labels.cpu}`, `cpu${s.labels.cpu ?? ''}`, [s], ([v]) => Math.min(100, Math.max(0, 100 * (1 - v)))));
  return b.spec({ id: 'cores', title: 'CPU by core', sub: '', unit: 'percent', lines, top: 100 });
}

export function load(b: Build): ChartSpec | null {
  const lines = (['1', '5', '15'] as const).flatMap((n) => {
    const s = b.one(`node_load${n}`);
    return s ? [b.line(s, `${n} min`)] : [];
  });
  const n = coreCount(b);
  const limits = n > 0 ? [{ value: n, label: n === 1 ? '1 core' : `${n} cores` }] : [];
  return b.spec({ id: 'load', title: 'Load', sub: 'tasks', unit: 'number', lines, limits, leastTop: 1, bandOf: lines[0]?.key });
}

