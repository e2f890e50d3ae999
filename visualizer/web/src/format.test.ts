/** Words and numbers as the design says them; the cases in the file beside this one hold for charts as pictures too. */
import { describe, expect, it } from 'vitest';
import cases from './format.cases.json';
import { age, axisUnit, clock, day, duration, number, plural, type Unit, value } from './format';
import { unitOf } from './panels/other';

const T = '\u202f';

describe('number', () => {
  it.each(cases.number as [number, string][])('writes %d as %s', (v, text) => expect(number(v)).toBe(text));

  it.each([null, undefined, Number.NaN, Infinity])('never writes %s as 0', (v) => expect(number(v)).toBe('–'));
});

describe('value', () => {
  it.each(cases.value as [number, Unit, string][])('writes %d %s as %s', (v, unit, text) => expect(value(v, unit)).toBe(text));

  it.each(cases.axis as [Unit, number, number, string][])('has one unit for a whole axis of %s to %d', (unit, largest, divisor, label) =>
    expect(axisUnit(unit, largest)).toEqual({ divisor, label }));

  it.each(cases.unit as [string, string, boolean, Unit][])('reads %s, said to be "%s"', (metric, said, counter, unit) => expect(unitOf(metric, said, counter)).toBe(unit));
});

describe('times', () => {
  const at = Date.UTC(2026, 10, 23, 14, 3, 10);
  it('are UTC, 24 hours, day before month', () => {
    expect(clock(at)).toBe('14:03:10');
    expect(day(at)).toBe('Mon 23 Nov');
  });
  it.each(cases.duration as [number, string][])('say %d ms in the two largest units', (ms, text) => expect(duration(ms)).toBe(text));
  it('give an age in one unit', () => {
    expect(age(12 * 60_000 + 59_000)).toBe(`12${T}min`);
    expect(age(-5)).toBe(`1${T}s`);
  });
  it('count things', () => {
    expect(plural(1, 'server')).toBe('1 server');
    expect(plural(1024, 'server')).toBe('1,024 servers');
  });
});
