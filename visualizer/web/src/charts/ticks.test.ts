/** Axes: two to four y ticks, at least 74 px between x ticks, logarithmic only where two decades are passed. */
import { describe, expect, it } from 'vitest';
import { scales, xTicks, yScale, yTicks } from './ticks';
import type { ChartSpec, Column } from './types';

const spec = (avg: Column, more: Partial<ChartSpec> = {}): ChartSpec => ({
  id: 'x', title: 'x', sub: '', unit: 'number', lines: [{ key: 'a', name: 'a', avg }], t0: 0, step: 10_000, from: 0, to: 100_000,
  live: false, since: null, odd: [], ...more,
});
const scaleOf = (avg: Column, more: Partial<ChartSpec> = {}): ReturnType<typeof yScale> => {
  const s = spec(avg, more);
  return yScale(s, s.lines, null);
};

describe('y', () => {
  it('has two to four ticks whatever the largest value is', () => {
    for (let k = 0; k < 400; k++) {
      const top = 10 ** (k / 40 - 4);
      const t = yTicks(scaleOf([top]), 1);
      expect(t.length, `top ${top}`).toBeGreaterThanOrEqual(2);
      expect(t.length, `top ${top}`).toBeLessThanOrEqual(4);
      for (const v of t) expect(v).toBeLessThanOrEqual(top * 1.13);
    }
  });
  it('starts at zero and ends at 100 for a fixed percent', () => {
    expect(scaleOf([3, 7], { top: 100 })).toEqual({ low: 0, high: 100, log: false });
    expect(yTicks(scaleOf([3], { top: 100 }), 1)).toContain(100);
  });
  it('ticks in units of the axis, so that GiB are round', () => {
    const gib = 2 ** 30;
    expect(yTicks({ low: 0, high: 125.6 * gib, log: false }, gib)).toEqual([50 * gib, 100 * gib]);
  });
  it('is logarithmic beyond two decades, never with zeros, never unasked', () => {
    expect(scaleOf([0.3, 31.1], { scale: 'auto' }).log).toBe(true);
    expect(scaleOf([0.3, 29], { scale: 'auto' }).log).toBe(false);
    expect(scaleOf([0, 0.3, 31.1], { scale: 'auto' }).log).toBe(false);
    expect(scaleOf([0.3, 31.1]).log).toBe(false);
    expect(yTicks({ low: 0.1, high: 160, log: true }, 1)).toEqual([1, 10, 100]);
    const gib = 2 ** 30;
    expect(yTicks({ low: 0.01 * gib, high: 400 * gib, log: true }, gib).map((v) => v / gib)).toEqual([0.1, 1, 10, 100]);
    const many = yTicks({ low: 1e-6, high: 1e6, log: true }, 1);
    expect(many.length).toBeLessThanOrEqual(4);
  });
  it('survives nothing at all', () => {
    const y = scaleOf([null, null]);
    expect(y.high).toBeGreaterThan(y.low);
  });
  it('keeps negative values in the picture', () => {
    expect(scaleOf([-4, 2]).low).toBeLessThanOrEqual(-4);
  });
});

describe('x', () => {
  it('leaves at least 74 px between ticks for any span and width', () => {
    for (const span of [60e3, 15 * 60e3, 3600e3, 86400e3, 30 * 86400e3]) {
      for (const width of [200, 360, 800, 1400]) {
        const t = xTicks(1_795_000_000_000, 1_795_000_000_000 + span, width).map((x) => x.t);
        for (let i = 1; i < t.length; i++) expect(((t[i] - t[i - 1]) / span) * width).toBeGreaterThanOrEqual(74);
      }
    }
  });
  it('writes a midnight as its date', () => {
    const midnight = Date.UTC(2026, 10, 23);
    const t = xTicks(midnight - 3 * 3600e3, midnight + 3 * 3600e3, 600);
    expect(t.find((x) => x.midnight)).toEqual({ t: midnight, midnight: true, label: 'Mon 23 Nov' });
    expect(t.filter((x) => !x.midnight).every((x) => /^\d\d:\d\d$/.test(x.label))).toBe(true);
  });
});

describe('scales', () => {
  it('turn pixels back into the time they came from', () => {
    const s = scales(1000, 9000, { low: 0, high: 10, log: false }, 400, 136);
    expect(s.time(s.x(5000))).toBeCloseTo(5000);
    expect([s.y(0), s.y(10)]).toEqual([136, 0]);
  });
  it('put zero of a log axis on the base line', () => {
    const s = scales(0, 1, { low: 0.1, high: 1000, log: true }, 400, 136);
    expect(s.y(0)).toBe(136);
    expect(s.y(10)).toBeCloseTo(68);
  });
});
