/** Disks: what they move, how long it takes, how busy they are, and how full the mounts on them. One line each, never averaged. */
import type { ChartSpec } from '../charts/types';
import { alive, type Build, type Made } from './build';

export function diskIo(b: Build): ChartSpec | null {
  const lines = [
    ...b.take('node_disk_written_bytes_total').map((s) => b.line(s, `${s.labels.device ?? ''} write`)),
    ...b.take('node_disk_read_bytes_total').map((s) => b.line(s, `${s.labels.device ?? ''} read`)),
  ];
  return b.spec({ id: 'disk-io', title: 'Disk I/O', sub: 'by device', unit: 'bytes/s', lines: quietLast(lines), leastTop: 1000 });
}

export function diskLatency(b: Build): ChartSpec | null {
  const pairs = [
    ['write', 'node_disk_write_time_seconds_total', 'node_disk_writes_completed_total'],
    ['read', 'node_disk_read_time_seconds_total', 'node_disk_reads_completed_total'],
  ] as const;
  const lines: Made[] = [];
  for (const [verb, time, done] of pairs) {
    const counts = b.take(done);
    for (const t of b.take(time)) {
      const n = counts.find((c) => c.labels.device === t.labels.device);
      if (!n) continue;
      // no request in a step: there was no wait either, which is not the same as no data
      lines.push(b.derived(`latency:${verb}:${t.labels.device}`, `${t.labels.device ?? ''} ${verb}`, [t, n], ([s, c]) => (c > 0 ? s / c : 0)));
    }
  }
  return b.spec({ id: 'disk-latency', title: 'Disk latency', sub: 'mean wait by device', unit: 'seconds', lines: lines.some((l) => alive(l, 0)) ? lines.filter((l) => alive(l, 0)) : lines, scale: 'auto', leastTop: 0.001 });
}

export function diskUse(b: Build): ChartSpec | null {
  const lines = b.take('node_disk_io_time_seconds_total').map((s) => b.line(s, s.labels.device ?? '', (v) => Math.min(100, v * 100)));
  return b.spec({ id: 'disk-use', title: 'Disk utilisation', sub: 'of time busy, by device', unit: 'percent', lines: quietLast(lines), leastTop: 10, mostTop: 100 });
}

export function filesystems(b: Build): ChartSpec | null {
  const percent = b.take('tidewatch_host_filesystem_used_percent');
  const sizes = b.take('node_filesystem_size_bytes');
  const free = b.take('node_filesystem_avail_bytes');
  const mount = (labels: Readonly<Record<string, string>>): string => labels.mountpoint ?? labels.device ?? '';
  const lines: Made[] = percent.map((s) => b.line(s, mount(s.labels)));
  const known = new Set(lines.map((l) => l.name));
  for (const size of sizes) {
    const name = mount(size.labels);
    if (known.has(name)) continue;
    const avail = free.find((f) => mount(f.labels) === name && f.labels.device === size.labels.device);
    if (!avail) continue;
    known.add(name);
    lines.push(b.derived(`fs:${name}`, name, [size, avail], ([s, a]) => (s > 0 ? 100 * (1 - a / s) : 0)));
  }
  return b.spec({ id: 'filesystems', title: 'Filesystems', sub: 'used, by mount', unit: 'percent', lines, top: 100 });
}

/** Devices that do something first: colours go to what is worth seeing. */
function quietLast(lines: Made[]): Made[] {
  const busy = lines.filter((l) => alive(l, 0));
  return busy.length > 0 && lines.length > 4 ? busy : [...busy, ...lines.filter((l) => !busy.includes(l))];
}
