/**
 * Words and numbers: every figure and time a reader sees goes through here.
 * In: plain numbers in base units (bytes, seconds, percent, milliseconds since 1970). Out: text.
 * Keeps: three significant figures at most, a narrow no-break space before a unit, "–" instead of a missing value.
 */
import { utcFormat } from 'd3-time-format';

/** How a number is to be read. Bytes are in binary units, rates in SI. */
export type Unit = 'percent' | 'bytes' | 'bytes/s' | 'seconds' | 'per second' | 'count' | 'number';

const THIN = '\u202f';
const MINUS = '\u2212';
export const NONE = '–';

const grouped = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });

/** A bare number: 9.3, 42, 1,740, 0.92. */
export function number(v: number | null | undefined): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return NONE;
  const sign = v < 0 ? MINUS : '';
  const a = Math.abs(v);
  if (a === 0) return '0';
  if (a >= 999.5) {
    const digits = Math.floor(Math.log10(a)) - 2;
    const unit = 10 ** digits;
    return sign + grouped.format(Math.round(a / unit) * unit);
  }
  if (a >= 9.95) return sign + String(Math.round(a));
  if (a >= 0.995) return sign + (Number.isInteger(a) ? String(a) : a.toFixed(1));
  if (a < 1e-6) return '0';
  const text = a.toPrecision(2);
  return sign + (text.includes('e') ? Number(text).toFixed(7) : text).replace(/0+$/, '').replace(/\.$/, '');
}

/** A whole count with commas: 1,024. */
export function count(v: number): string {
  return grouped.format(v);
}

interface Step {
  readonly size: number;
  readonly label: string;
}

const BINARY: readonly Step[] = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].map((label, i) => ({ size: 1024 ** i, label }));
const DECIMAL: readonly Step[] = ['B/s', 'kB/s', 'MB/s', 'GB/s', 'TB/s'].map((label, i) => ({ size: 1000 ** i, label }));
const TIME: readonly Step[] = [
  { size: 1e-6, label: 'µs' },
  { size: 1e-3, label: 'ms' },
  { size: 1, label: 's' },
];

function pick(steps: readonly Step[], v: number): Step {
  const a = Math.abs(v);
  if (a === 0) return steps === TIME ? TIME[1] : steps[0];
  let chosen = steps[0];
  // 999.5 of a unit would print as 1,000 of it: the next one reads better
  for (const s of steps) if (a >= s.size * 0.9995) chosen = s;
  return chosen;
}

/** The unit a whole axis is labelled in, chosen by its largest value, and what to divide by. */
export function axisUnit(unit: Unit, largest: number): { divisor: number; label: string } {
  switch (unit) {
    case 'percent':
      return { divisor: 1, label: '%' };
    case 'bytes':
      return asAxis(pick(BINARY, largest));
    case 'bytes/s':
      return asAxis(pick(DECIMAL, largest));
    case 'seconds':
      return asAxis(pick(TIME, largest));
    case 'per second':
      return large(largest, 'per second');
    case 'count':
    case 'number':
      return large(largest, '');
  }
}

/** A gutter holds five characters: larger numbers are counted in thousands or millions, said once. */
function large(largest: number, label: string): { divisor: number; label: string } {
  const a = Math.abs(largest);
  const word = a >= 1e10 ? 'billion' : a >= 1e7 ? 'million' : a >= 1e4 ? 'thousand' : '';
  return { divisor: a >= 1e10 ? 1e9 : a >= 1e7 ? 1e6 : a >= 1e4 ? 1e3 : 1, label: [word, label].filter(Boolean).join(' ') };
}

function asAxis(s: Step): { divisor: number; label: string } {
  return { divisor: s.size, label: s.label };
}

/** A value with its unit: 9.3 %, 47 GiB, 1.2 GB/s, 0.92 ms, 1,740/s. */
export function value(v: number | null | undefined, unit: Unit): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return NONE;
  switch (unit) {
    case 'percent':
      return number(v) + THIN + '%';
    case 'bytes':
      return scaled(v, pick(BINARY, v));
    case 'bytes/s':
      return scaled(v, pick(DECIMAL, v));
    case 'seconds':
      return Math.abs(v) >= 120 ? duration(v * 1000) : scaled(v, pick(TIME, v));
    case 'per second':
      return number(v) + '/s';
    case 'count':
    case 'number':
      return number(v);
  }
}

function scaled(v: number, s: Step): string {
  return number(v / s.size) + THIN + s.label;
}

/** A score: one decimal, 1.0 alerts. */
export function score(v: number): string {
  return v.toFixed(1);
}

const hms = utcFormat('%H:%M:%S');
const hm = utcFormat('%H:%M');
const dayText = utcFormat('%a %-d %b');

/** 14:03:10 */
export const clock = (ms: number): string => hms(new Date(ms));
/** 14:03 */
export const clockShort = (ms: number): string => hm(new Date(ms));
/** Mon 23 Nov */
export const day = (ms: number): string => dayText(new Date(ms));
/** Mon 23 Nov, 14:03:10 */
export const dayClock = (ms: number): string => `${day(ms)}, ${clock(ms)}`;

const PARTS: readonly [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** A duration in its two largest units: 6 h 40 min, 41 d 6 h, 12 s. */
export function duration(ms: number): string {
  let rest = Math.max(0, Math.round(ms / 1000) * 1000);
  if (rest === 0) return ms > 0 ? `${Math.round(ms)}${THIN}ms` : `0${THIN}s`;
  const out: string[] = [];
  for (let i = 0; i < PARTS.length; i++) {
    const [name, size] = PARTS[i];
    const n = Math.floor(rest / size);
    if (n === 0) {
      if (out.length > 0) break;
      continue;
    }
    out.push(`${n}${THIN}${name}`);
    rest -= n * size;
    if (out.length === 2) break;
  }
  return out.join(' ');
}

/** An age in its largest unit alone, for narrow columns: 1 s, 12 min, 3 h, 5 d. */
export function age(ms: number): string {
  // what is seen now was sent a moment ago: "0 s" would claim too much
  const a = Math.max(1000, ms);
  for (const [name, size] of PARTS) if (a >= size) return `${Math.floor(a / size)}${THIN}${name}`;
  return `1${THIN}s`;
}

/** "1 server", "25 servers". */
export function plural(n: number, one: string, many = one + 's'): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
