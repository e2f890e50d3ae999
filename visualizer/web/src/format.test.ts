/** Words and numbers as the design says them. */
import { describe, expect, it } from 'vitest';
import { age, axisUnit, clock, day, duration, number, plural, value } from './format';

const T = '\u202f';

describe('number', () => {
  it.each([
    [9.31, '9.3'], [42.4, '42'], [1739.6, '1,740'], [0.923, '0.92'], [-3.98, '−4.0'], [0, '0'], [64, '64'], [999.7, '1,000'],
    [0.0333, '0.033'], [123456, '123,000'], [2, '2'], [0.9999, '1.0'], [0.00002, '0.00002'],
  ])('writes %d as %s', (v, text) => expect(number(v)).toBe(text));

  it.each([null, undefined, Number.NaN, Infinity])('never writes %s as 0', (v) => expect(number(v)).toBe('–'));
});

describe('value', () => {
  it.each([
    [9.3, 'percent', `9.3${T}%`], [47 * 2 ** 30, 'bytes', `47${T}GiB`], [1.2e9, 'bytes/s', `1.2${T}GB/s`], [0.00092, 'seconds', `920${T}µs`],
    [0.039, 'seconds', `39${T}ms`], [1740, 'per second', '1,740/s'], [0, 'bytes', `0${T}B`], [999.9e6, 'bytes/s', `1.0${T}GB/s`], [24000, 'seconds', `6${T}h 40${T}min`],
  ] as const)('writes %d %s as %s', (v, unit, text) => expect(value(v, unit)).toBe(text));

  it('has one unit for a whole axis', () => {
    expect(axisUnit('bytes', 125 * 2 ** 30)).toEqual({ divisor: 2 ** 30, label: 'GiB' });
    expect(axisUnit('bytes/s', 3e8)).toEqual({ divisor: 1e6, label: 'MB/s' });
    expect(axisUnit('number', 16_800_000)).toEqual({ divisor: 1e6, label: 'million' });
    expect(axisUnit('per second', 26_200)).toEqual({ divisor: 1e3, label: 'thousand per second' });
    expect(axisUnit('number', 9_999)).toEqual({ divisor: 1, label: '' });
    expect(axisUnit('seconds', 0.031)).toEqual({ divisor: 1e-3, label: 'ms' });
  });
});

describe('times', () => {
  const at = Date.UTC(2026, 10, 23, 14, 3, 10);
  it('are UTC, 24 hours, day before month', () => {
    expect(clock(at)).toBe('14:03:10');
    expect(day(at)).toBe('Mon 23 Nov');
  });
  it.each([
    [24_000_000, `6${T}h 40${T}min`], [12_000, `12${T}s`], [3_564_000_000, `41${T}d 6${T}h`], [3_600_000, `1${T}h`], [3_605_000, `1${T}h`], [0, `0${T}s`],
  ])('say %d ms in the two largest units', (ms, text) => expect(duration(ms)).toBe(text));
  it('give an age in one unit', () => {
    expect(age(12 * 60_000 + 59_000)).toBe(`12${T}min`);
    expect(age(-5)).toBe(`1${T}s`);
  });
  it('count things', () => {
    expect(plural(1, 'server')).toBe('1 server');
    expect(plural(1024, 'server')).toBe('1,024 servers');
  });
});
