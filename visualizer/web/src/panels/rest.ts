/** Network, pressure (PSI) and processes. */
import type { ChartSpec } from '../charts/types';
import { alive, type Build } from './build';

export function network(b: Build): ChartSpec | null {
  const rx = b.take('node_network_receive_bytes_total');
  const tx = b.take('node_network_transmit_bytes_total');
  const all = [...tx.map((s) => ({ s, verb: 'out' })), ...rx.map((s) => ({ s, verb: 'in' }))];
  // loopback is the host talking to itself: shown only where there is nothing else
  const real = all.filter((x) => x.s.labels.device !== 'lo');
  const lines = (real.length > 0 ? real : all).map(({ s, verb }) => b.line(s, `${s.labels.device ?? ''} ${verb}`.trim()));
  const busy = lines.filter((l) => alive(l, 0));
  const sum = b.look('tidewatch_host_network_bytes_per_second')[0];
  b.used.add('tidewatch_host_network_bytes_per_second');
  if (sum && (b.isOdd(sum.metric) || lines.length === 0)) busy.unshift(b.line(sum, 'all devices'));
  return b.spec({ id: 'network', title: 'Network', sub: 'by device', unit: 'bytes/s', lines: busy.length > 0 ? busy : lines, leastTop: 1000 });
}

export function pressure(b: Build): ChartSpec | null {
  const lines = (['cpu', 'io', 'memory'] as const).flatMap((what) => {
    const s = b.one(`node_pressure_${what}_waiting_seconds_total`);
    return s ? [b.line(s, what === 'io' ? 'I/O' : what, (v) => Math.min(100, v * 100))] : [];
  });
  return b.spec({ id: 'pressure', title: 'Pressure', sub: 'of time some task waits', unit: 'percent', lines, leastTop: 5, mostTop: 100 });
}

export function processes(b: Build): ChartSpec | null {
  const lines = ([['node_procs_running', 'running'], ['node_procs_blocked', 'blocked']] as const).flatMap(([metric, name]) => {
    const s = b.one(metric);
    return s ? [b.line(s, name)] : [];
  });
  return b.spec({ id: 'processes', title: 'Processes', sub: 'tasks', unit: 'number', lines, leastTop: 4 });
}
