/** The facts line of a server: machine, address, system, age. In: what it sent about itself. Out: terms and values, only known ones. */
import type { Server } from '../api';
import { age, duration, plural, value } from '../format';
import type { Frame } from '../frame';

export interface Fact {
  readonly term: string;
  readonly text: string;
}

export function facts(server: Server, frame: Frame | null, now: number, heard: number | null = null): Fact[] {
  const all = frame ? [...frame.series.values()] : [];
  const info = all.find((s) => s.metric === 'tidewatch_host_info')?.labels ?? {};
  const boot = all.find((s) => s.metric === 'node_boot_time_seconds')?.avg.findLast((v) => v !== null) ?? null;
  const memory = Number(info.memory_bytes);
  const machine = [info.cores ? plural(Number(info.cores), 'core') : '', memory > 0 ? value(memory, 'bytes') : ''].filter(Boolean).join(', ');
  const system = [info.os, info.kernel].filter(Boolean).join(', ');
  const collector = [info.collector_version, frame ? `${all.length} series` : ''].filter(Boolean).join(', ');
  const out: [string, string][] = [
    ['Machine', machine],
    ['Address', info.ip_address || server.ip_address || ''],
    ['System', system],
    ['Up', boot === null ? '' : duration(now - boot * 1000)],
    [info.collector_version ? 'Collector' : 'Sends', collector],
    ['Last seen', `${age(now - Math.max(Date.parse(server.last_seen), heard ?? 0))} ago`],
  ];
  return out.filter(([, text]) => text !== '').map(([term, text]) => ({ term, text }));
}
