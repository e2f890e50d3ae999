/** Frames and panels: live windows land on the grid, twice the same changes nothing, and every metric sent is drawn somewhere. */
import { describe, expect, it } from 'vitest';
import type { Query, QuerySeries } from './api';
import { type Frame, fromQuery, type LiveWindow, newest, seriesKey, trimmed, withWindow } from './frame';
import { panels } from './panels';
import { unitOf } from './panels/other';

const W = 10_000;
const series = (metric: string, labels: Record<string, string>, avg: (number | null)[], kind: 'gauge' | 'counter' = 'gauge'): QuerySeries => ({
  series_id: 1, metric, labels, kind, unit: '', t0: 0, avg, min: avg, max: avg, expected: null,
});
const query = (s: QuerySeries[], anomalies: Query['anomalies'] = []): Query => ({
  server: { id: 1, name: 'x' }, from: 0, to: 3 * W, step: W, tier: '10s', as_of: 0, series: s, anomalies,
});
const win = (from: number, metric: string, avg: number, step = W): LiveWindow => ({ server: 'x', from, step, series: [{ metric, labels: {}, avg, min: avg, max: avg }] });
const column = (f: Frame, key: string): unknown => f.series.get(key)?.avg;

describe('frame', () => {
  const f = fromQuery(query([series('a', {}, [1, 2, null]), series('b', {}, [5, 6, 7])]));

  it('grows by a window and pads the others', () => {
    const g = withWindow(f, win(4 * W, 'a', 9));
    expect(column(g, 'a')).toEqual([1, 2, null, null, 9]);
    expect(column(g, 'b')).toEqual([5, 6, 7, null, null]);
    expect(newest(g)).toBe(4 * W);
    expect(column(f, 'a')).toEqual([1, 2, null]);
  });
  it('is the same after the same window again', () => {
    const once = withWindow(f, win(3 * W, 'a', 9));
    expect(column(withWindow(once, win(3 * W, 'a', 9)), 'a')).toEqual(column(once, 'a'));
  });
  it('keeps known values when asked to, and takes corrections when not', () => {
    expect(column(withWindow(f, win(W, 'a', 99), true), 'a')).toEqual([1, 2, null]);
    expect(column(withWindow(f, win(W, 'a', 99)), 'a')).toEqual([1, 99, null]);
  });
  it('ignores what is off the grid, before it, or of another step', () => {
    expect(withWindow(f, win(-W, 'a', 1))).toBe(f);
    expect(withWindow(f, win(15_000, 'a', 1))).toBe(f);
    expect(withWindow(f, win(3 * W, 'a', 1, 60_000))).toBe(f);
  });
  it('takes in a series never seen before', () => {
    expect(column(withWindow(f, win(2 * W, 'new', 4)), 'new')).toEqual([null, null, 4]);
  });
  it('forgets the far past in bites', () => {
    const long = fromQuery({ ...query([series('a', {}, Array.from({ length: 200 }, (_, i) => i))]), to: 200 * W });
    expect(trimmed(long, 59 * W)).toBe(long);
    const cut = trimmed(long, 100 * W);
    expect([cut.t0, cut.length]).toEqual([100 * W, 100]);
    expect(newest(cut)).toBe(199 * W);
  });
  it('knows a series by its labels in any order', () => {
    expect(seriesKey('m', { b: '2', a: '1' })).toBe(seriesKey('m', { a: '1', b: '2' }));
  });
});

describe('panels', () => {
  const view = { from: 0, to: 2 * W, live: true, since: null };
  const all = (s: QuerySeries[], anomalies: Query['anomalies'] = []): ReturnType<typeof panels> => panels(fromQuery(query(s, anomalies)), view);
  const draw = (s: QuerySeries[], anomalies: Query['anomalies'] = []): ReturnType<typeof panels>['main'] => all(s, anomalies).main;

  it('turn CPU seconds into percent of all cores', () => {
    const s = ['0', '1'].flatMap((cpu) => [
      series('node_cpu_seconds_total', { cpu, mode: 'user' }, [0.5, 0.5, null], 'counter'),
      series('node_cpu_seconds_total', { cpu, mode: 'idle' }, [0.25, 0.25, 0.25], 'counter'),
    ]);
    const out = draw(s);
    expect(out.map((p) => p.id)).toEqual(['cpu', 'cores']);
    expect(out[0].lines.map((l) => l.name)).toEqual(['user']);
    expect(out[0].lines[0].avg).toEqual([50, 50, null]);
    expect(out[1].lines.map((l) => [l.name, l.avg[0]])).toEqual([['cpu0', 75], ['cpu1', 75]]);
  });
  it('keep their order and add one chart for each foreign metric', () => {
    const out = draw([series('queue_depth', { queue: 'a' }, [1, 2, 3]), series('queue_depth', { queue: 'b' }, [1, 2, 3]), series('node_load1', {}, [1, 1, 1]), series('build_info', {}, [1, 1, 1])]);
    expect(out.map((p) => p.id)).toEqual(['load', 'metric-queue_depth']);
    expect(out[1].lines.map((l) => l.name)).toEqual(['a', 'b']);
  });
  it('fold what a host says beside the usual, unless it is odd', () => {
    const s = [series('node_memory_Slab_bytes', {}, [1, 2, 3]), series('node_load1', {}, [1, 1, 1])];
    expect(all(s).more.map((p) => p.title)).toEqual(['node_memory_Slab_bytes']);
    expect(all(s).main.map((p) => p.id)).toEqual(['load']);
    const odd = { series_id: 1, metric: 'node_memory_Slab_bytes', labels: {}, from: W, to: 2 * W, score: 2, value: 2, low: 0, high: 1 };
    expect(all(s, [odd]).main.map((p) => p.id)).toEqual(['load', 'metric-node_memory_Slab_bytes']);
    expect(all(s, [odd]).more).toEqual([]);
  });
  it('name lines by one label where one tells them apart, by all that differ otherwise', () => {
    const of = (labels: Record<string, string>): QuerySeries => series('inodes', labels, [1, 1, 1]);
    expect(draw([of({ device: 'a', fstype: 'ext4', mountpoint: '/' }), of({ device: 'b', fstype: 'xfs', mountpoint: '/var' })])[0].lines.map((l) => l.name)).toEqual(['/', '/var']);
    expect(draw([of({ a: '1', b: 'x' }), of({ a: '1', b: 'y' }), of({ a: '2', b: 'x' })])[0].lines.map((l) => l.name)).toEqual(['a 1 x', 'a 1 y', 'a 2 x']);
  });
  it('read seconds a second as a share of time', () => {
    const out = draw([series('gc_pause_seconds_total', {}, [0.02, 0.5, null], 'counter')]);
    expect([out[0].unit, out[0].lines[0].avg]).toEqual(['percent', [2, 50, null]]);
  });
  it('bring an anomaly to the line it belongs to', () => {
    const a = { series_id: 1, metric: 'node_disk_io_time_seconds_total', labels: { device: 'sda' }, from: W, to: 2 * W, score: 2, value: 0.9, low: 0, high: 0.2 };
    const out = draw([series('node_disk_io_time_seconds_total', { device: 'sda' }, [0.1, 0.9, 0.9], 'counter')], [a]);
    expect(out[0].odd).toEqual([{ key: 'node_disk_io_time_seconds_total{device=sda}', from: W, to: 2 * W, score: 2, value: 90 }]);
  });
  it('never make a zero of a missing part', () => {
    const out = draw([series('node_memory_MemTotal_bytes', {}, [8, 8, 8]), series('node_memory_MemAvailable_bytes', {}, [3, null, 5])]);
    expect(out[0].lines[0].avg).toEqual([5, null, 3]);
  });
});

describe('unitOf', () => {
  it.each([
    ['x_bytes', '', false, 'bytes'], ['gc_seconds_total', '', true, 'percent'], ['x_bytes_total', '', true, 'bytes/s'], ['req_total', '', true, 'per second'], ['lat_seconds', '', false, 'seconds'],
    ['used_percent', '', false, 'percent'], ['x', 'By', false, 'bytes'], ['depth', '', false, 'number'],
  ])('%s is read as its name says', (m, said, counter, unit) => expect(unitOf(m, said, counter)).toBe(unit));
});
