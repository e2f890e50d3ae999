/** Memory: what is used, cached and swapped, up to what the host has. */
import type { ChartSpec } from '../charts/types';
import { value } from '../format';
import { alive, type Build, latest, type Made } from './build';

export function memory(b: Build): ChartSpec | null {
  const size = b.one('node_memory_MemTotal_bytes');
  const available = b.one('node_memory_MemAvailable_bytes');
  const used = b.one('tidewatch_host_memory_used_percent');
  const all = latest(size);
  const lines: Made[] = [];
  // the percentage carries the expected band: scaled by the host's memory it is the same line in bytes
  if (used && all !== null) lines.push(b.line(used, 'used', (v) => (v / 100) * all));
  else if (size && available) lines.push(b.derived('memory:used', 'used', [size, available], ([t, a]) => Math.max(0, t - a)));
  for (const [metric, name] of [['node_memory_Cached_bytes', 'cached'], ['node_memory_Buffers_bytes', 'buffers']] as const) {
    const s = b.one(metric);
    if (s) lines.push(b.line(s, name));
  }
  const swap = b.one('node_memory_SwapTotal_bytes');
  const free = b.one('node_memory_SwapFree_bytes');
  if (swap && free) {
    const line = b.derived('memory:swap', 'swap used', [swap, free], ([t, f]) => Math.max(0, t - f));
    if (alive(line, 0)) lines.push(line);
  }
  return b.spec({
    id: 'memory', title: 'Memory', unit: 'bytes', lines,
    sub: all === null ? '' : `of ${value(all, 'bytes')}`,
    ...(all === null ? {} : { top: all }),
    bandOf: used?.key,
  });
}
