/** Colours: never a ninth, the suspect first, the crowd counted. Sparklines and heartbeats: broken and tall where they must be. */
import { describe, expect, it } from 'vitest';
import { ranking } from './rank';
import { heartbeat, heartbeatText, spark } from './spark';
import type { Line } from './types';

const lines = (n: number): Line[] => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, name: `k${i}`, avg: [i] }));

describe('ranking', () => {
  it('colours up to eight in their order', () => {
    const r = ranking(lines(8), []);
    expect(r.named.map((n) => n.colour)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(r.crowd).toHaveLength(0);
  });
  it('names the top three of nine and leaves the rest to the crowd', () => {
    const r = ranking(lines(9), []);
    expect(r.named.map((n) => n.line.key)).toEqual(['k8', 'k7', 'k6']);
    expect(r.crowd).toHaveLength(6);
    expect(r.crowd.every((n) => n.colour === 0)).toBe(true);
  });
  it('gives the suspect series 1, in a crowd as well', () => {
    const odd = [{ key: 'k2', from: 0, to: 1, score: 1.3, value: 2 }, { key: 'k1', from: 0, to: 1, score: 4.6, value: 1 }];
    expect(ranking(lines(4), odd).named[0].line.key).toBe('k1');
    expect(ranking(lines(20), odd).named.map((n) => n.line.key)).toEqual(['k1', 'k2', 'k19']);
  });
});

describe('spark', () => {
  it('breaks at a gap', () => {
    expect(spark([1, 2, null, null, null, 3, 4], 72, 20, 10).line.match(/M/g)).toHaveLength(2);
  });
  it('has no dot when the newest sample is old', () => {
    expect(spark([1, 2, 3, null, null, null], 72, 20, 10).dot).toBeNull();
    expect(spark([1, 2, 3], 72, 20, 10).dot).not.toBeNull();
  });
});

describe('heartbeat', () => {
  it('is one path for each status present', () => {
    const parts = heartbeat(['ok', 'ok', 'none', 'critical'], 4, 3);
    expect(parts.map((p) => p.status)).toEqual(['ok', 'critical']);
    expect(parts[0].path.match(/M/g)).toHaveLength(2);
    expect(parts[1].path).toContain('M12 0');
  });
  it('says itself in words', () => {
    expect(heartbeatText(['ok', 'ok', 'odd'])).toBe('Last 24 h in half hours: 1 odd, 2 ok');
    expect(heartbeatText(['none'])).toContain('nothing received');
  });
});
