/** What the pages decide before anything is drawn: keys, rows in view, the incident strip, facts, the order of the fleet. */
import { describe, expect, it } from 'vitest';
import { type Alert, ApiError, type Anomaly, type Server, type Status } from '../api';
import type { Frame, FrameSeries } from '../frame';
import { fleetSentence, tally, worstFirst } from '../status';
import { facts } from './facts';
import { sea } from './sea';
import { keyTrouble, refusal } from './sign-in';
import { alertBars, oddCounts, oddSeries } from './strip';
import { slice } from './window';

describe('keys', () => {
  const body = 'a'.repeat(43);
  it('are let through when they look right', () => expect(keyTrouble(`tw_v_${body}`)).toBeNull());
  it.each([['', 'There is no key yet.'], ['hello', 'This is no Tidewatch key.'], ['tw_a_short', 'This key is too short.'], [`tw_a_${body}x`, 'This key is too long.']])(
    '%s is answered with what is wrong', (key, title) => expect(keyTrouble(key)?.title).toBe(title));
  it('have their refusals said apart', () => {
    const titles = (['signed-out', 'too-many', 'offline', 'unavailable'] as const).map((k) => refusal(new ApiError(k, 'x')).title);
    expect(new Set(titles).size).toBe(4);
  });
});

describe('rows in view', () => {
  it('are all of them up to 150', () => expect(slice(150, 9999, 900, 28)).toEqual({ from: 0, to: 150, before: 0, after: 0 }));
  it('always add up to the height of the whole table', () => {
    for (let y = -500; y < 30_000; y += 777) {
      const s = slice(1024, y, 900, 28);
      expect(s.before + (s.to - s.from) * 28 + s.after).toBe(1024 * 28);
      expect(s.to - s.from).toBeLessThanOrEqual(80);
      const top = Math.floor(Math.max(0, Math.min(y, 1023 * 28)) / 28);
      expect(s.from).toBeLessThanOrEqual(top);
      expect(s.to).toBeGreaterThan(top);
    }
  });
});

describe('the incident strip', () => {
  const span = { from: 0, to: 1000 };
  const odd = (metric: string, from: number, to: number): Anomaly => ({ series_id: 1, metric, labels: {}, from, to, score: 2, value: 1, low: 0, high: 1 });
  it('counts each series once in each slot', () => {
    expect(oddCounts([odd('a', 0, 200), odd('a', 150, 300), odd('b', 250, 300)], span, 10)).toEqual([1, 1, 2, 0, 0, 0, 0, 0, 0, 0]);
  });
  it('counts series in the range alone', () => {
    expect(oddSeries([odd('a', -200, -100), odd('b', -50, 50), odd('b', 500, 600)], span)).toBe(1);
  });
  it('draws an open alert to the edge, a past one to its end, one out of range not at all', () => {
    const alert = (id: string, from: number, to: number | null): Alert =>
      ({ alert_id: id, severity: 'warning', starts_at: new Date(from).toISOString(), ends_at: to === null ? null : new Date(to).toISOString() }) as Alert;
    const bars = alertBars([alert('open', 500, null), alert('past', 100, 300), alert('old', -900, -100)], span, 200);
    expect(bars.map((b) => [b.id, b.x, b.width])).toEqual([['open', 100, 100], ['past', 20, 40]]);
  });
});

describe('the fleet', () => {
  const of = (name: string, status: Status, open_alerts = 0): { name: string; status: Status; open_alerts: number } => ({ name, status, open_alerts });
  const all = [of('b', 'ok'), of('node-10', 'warning'), of('node-9', 'warning'), of('a', 'critical', 1), of('c', 'critical', 3), of('s', 'silent'), of('l', 'learning')];
  it('is worst first, then by alerts, then by name as people count', () => {
    expect(worstFirst(all).map((s) => s.name)).toEqual(['c', 'a', 'node-9', 'node-10', 's', 'l', 'b']);
  });
  it('says in a sentence how it is', () => {
    expect(fleetSentence(all)).toBe('5 need a look, 1 is in its bands, 1 still learning');
    expect(tally(all).critical).toBe(2);
  });
});

describe('facts', () => {
  const server = { ip_address: '10.0.0.5', last_seen: new Date(100_000).toISOString() } as Server;
  const series = (metric: string, labels: Record<string, string>, avg: (number | null)[]): FrameSeries =>
    ({ key: metric, metric, labels, kind: 'gauge', unit: '', avg, min: avg, max: avg, expected: null });
  it('name only what is known', () => {
    expect(facts(server, null, 103_000).map((f) => f.term)).toEqual(['Address', 'Last seen']);
    const info = { cores: '16', memory_bytes: String(128 * 2 ** 30), os: 'Debian 12', kernel: '6.1', collector_version: '0.1.0', ip_address: '' };
    const frame = { series: new Map([['i', series('tidewatch_host_info', info, [1])], ['b', series('node_boot_time_seconds', {}, [40, null])]]) } as unknown as Frame;
    const out = Object.fromEntries(facts(server, frame, 103_000).map((f) => [f.term, f.text]));
    expect(out).toEqual({ Machine: '16 cores, 128\u202fGiB', Address: '10.0.0.5', System: 'Debian 12, 6.1', Up: '1\u202fmin 3\u202fs', Collector: '0.1.0, 2 series', 'Last seen': '3\u202fs ago' });
  });
});

describe('the sea', () => {
  it('is the same on every visit, and its line leaves the band', () => {
    expect(sea(1400, 400)).toEqual(sea(1400, 400));
    const s = sea(1400, 400);
    expect(s.end.y).toBeLessThan(s.left.y - 60);
  });
});
