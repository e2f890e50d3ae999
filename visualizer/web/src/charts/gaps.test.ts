/** Gaps: broken beyond 2.5 of a line's own steps, full only where every line lacks data, empty before the first sample ever. */
import { describe, expect, it } from 'vitest';
import { gaps, lastValue, runs, valueAt } from './gaps';
import type { Column, Line } from './types';

const line = (key: string, avg: Column): Line => ({ key, name: key, avg });
const upTo = (n: number, skip: (i: number) => boolean = () => false): Column => Array.from({ length: n }, (_, i) => (skip(i) ? null : i));
const grid = (n: number): { t0: number; step: number; from: number; to: number; since: null } => ({ t0: 0, step: 10, from: 0, to: (n - 1) * 10, since: null });

describe('runs', () => {
  it('joins over one lost sample and breaks over two', () => {
    expect(runs([1, null, 3, 4, 5])).toEqual([[0, 2, 3, 4]]);
    expect(runs([1, 2, 3, 4, null, null, 7, 8])).toEqual([[0, 1, 2, 3], [6, 7]]);
  });
  it('takes the pace of a slow sender', () => {
    const slow = upTo(31, (i) => i % 3 !== 0);
    expect(runs(slow)).toHaveLength(1);
    const torn = slow.map((v, i) => (i > 9 && i < 18 ? null : v));
    expect(runs(torn)).toHaveLength(2);
  });
  it('has nothing to draw for nothing', () => expect(runs([null, null])).toEqual([]));
});

describe('gaps', () => {
  it('spans from the last sample before to the first after', () => {
    const a = upTo(20, (i) => i > 5 && i < 12);
    expect(gaps([line('a', a)], grid(20))).toEqual([{ from: 50, to: 120, partial: false }]);
  });
  it('is full only where all lines lack data', () => {
    const a = upTo(30, (i) => i > 5 && i < 12);
    const b = upTo(30, (i) => i > 5 && i < 20);
    expect(gaps([line('a', a), line('b', b)], grid(30))).toEqual([
      { from: 50, to: 120, partial: false },
      { from: 120, to: 200, partial: true },
    ]);
  });
  it('counts silence at the right edge, and at the left one only after the first sample ever', () => {
    const a = upTo(20, (i) => i < 6 || i > 12);
    expect(gaps([line('a', a)], grid(20))).toEqual([{ from: 0, to: 60, partial: false }, { from: 120, to: 190, partial: false }]);
    expect(gaps([line('a', a)], { ...grid(20), since: 55 })).toEqual([{ from: 120, to: 190, partial: false }]);
  });
  it('does not call the future a gap', () => {
    const a = upTo(20, (i) => i > 12);
    expect(gaps([line('a', a)], { ...grid(20), until: 130 })).toEqual([]);
    expect(gaps([line('a', a)], { ...grid(20), until: 170 })).toEqual([{ from: 120, to: 170, partial: false }]);
  });
  it('does not call a new or mute line a hole in the others', () => {
    const whole = upTo(20);
    expect(gaps([line('a', whole), line('b', upTo(20, (i) => i < 10)), line('c', upTo(20, () => true))], grid(20))).toEqual([]);
  });
});

describe('valueAt', () => {
  const c: Column = [1, 2, 3, null, 5, 6, null, null, null, 10];
  it('reads the own sample, bridges one hole, says nothing in a gap', () => {
    expect(valueAt(c, 2)).toBe(3);
    expect(valueAt(c, 3)).toBe(3);
    expect(valueAt(c, 7)).toBeNull();
    expect(valueAt(c, 99)).toBeNull();
  });
  it('knows when the newest value is too old to be now', () => {
    expect(lastValue([1, 2, 3, 4, null])).toBe(4);
    expect(lastValue([1, 2, 3, 4, null, null, null])).toBeNull();
  });
});
