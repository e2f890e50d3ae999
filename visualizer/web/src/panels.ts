/**
 * Which charts a server gets, in a fixed order: CPU, cores, load, memory, disks, filesystems, network, pressure, processes,
 * then every other metric it sends, one chart each, those of its own system folded. In: a frame. Out: chart specs.
 * Keeps: a metric with an anomaly is always drawn somewhere; info series and clocks never are.
 */
import type { ChartSpec } from './charts/types';
import type { Frame } from './frame';
import { others } from './panels/other';
import { Build, type View } from './panels/build';
import { cores, cpu, load } from './panels/cpu';
import { diskIo, diskLatency, diskUse, filesystems } from './panels/disk';
import { memory } from './panels/memory';
import { network, pressure, processes } from './panels/rest';

export type { View } from './panels/build';

/** The charts of an ordinary host, so that a loading page already has its axes in place. */
export const USUAL: readonly { id: string; title: string; sub: string }[] = [
  { id: 'cpu', title: 'CPU by mode', sub: '% of all cores' },
  { id: 'cores', title: 'CPU by core', sub: '%' },
  { id: 'load', title: 'Load', sub: 'tasks' },
  { id: 'memory', title: 'Memory', sub: 'GiB' },
  { id: 'disk-io', title: 'Disk I/O', sub: 'MB/s by device' },
  { id: 'disk-latency', title: 'Disk latency', sub: 'ms by device' },
  { id: 'disk-use', title: 'Disk utilisation', sub: '% by device' },
  { id: 'filesystems', title: 'Filesystems', sub: '% used, by mount' },
  { id: 'network', title: 'Network', sub: 'MB/s by device' },
  { id: 'pressure', title: 'Pressure', sub: '% of time waiting' },
  { id: 'processes', title: 'Processes', sub: 'tasks' },
];

export interface Panels {
  /** Drawn at once: the usual charts, foreign metrics, and whatever is odd. */
  readonly main: ChartSpec[];
  /** The rest of what a host says of itself, a hundred metrics nobody asked for: folded until someone does. */
  readonly more: ChartSpec[];
}

export function panels(frame: Frame, view: View): Panels {
  const b = new Build(frame, view);
  const fixed = [cpu, cores, load, memory, diskIo, diskLatency, diskUse, filesystems, network, pressure, processes];
  const main = fixed.flatMap((f) => {
    const spec = f(b);
    return spec ? [spec] : [];
  });
  const rest = others(b);
  const folded = (s: ChartSpec): boolean => s.odd.length === 0 && /^(node|tidewatch_host)_/.test(s.title);
  return { main: [...main, ...rest.filter((s) => !folded(s))], more: rest.filter(folded) };
}
