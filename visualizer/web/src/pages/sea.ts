/**
 * The product's one idea, drawn large behind the sign-in: the tide that was expected, the line that came, the moment it left.
 * Decoration only: computed here, the same on every visit, tied to no server.
 */
import { area, line } from 'd3-shape';

export interface Sea {
  readonly band: string;
  readonly low: string;
  readonly high: string;
  readonly came: string;
  readonly left: { x: number; y: number };
  readonly end: { x: number; y: number };
  readonly said: { x: number; y: number };
}

const LEAVES = 0.79;
const ENDS = 0.86;

/** A repeatable noise in -1..1: a fraction of a large sine for each sample, with a slower swell below it. */
const grain = (i: number): number => {
  const v = Math.sin(i * 127.1 + 11.7) * 43_758.5453;
  return 2 * (v - Math.floor(v)) - 1;
};
const ripple = (u: number): number => 0.62 * grain(Math.round(u * 700)) + 0.38 * grain(Math.round(u * 90)) + 0.3 * Math.sin(u * 61);
const ease = (u: number): number => u * u * (3 - 2 * u);

export function sea(width: number, height: number): Sea {
  const mid = (u: number): number => height * (0.58 - 0.19 * Math.sin(u * 8.1 - 0.8) - 0.05 * Math.sin(u * 18.3));
  const half = (u: number): number => height * (0.1 + 0.02 * Math.sin(u * 5.2));
  const came = (u: number): number => {
    const rise = u > LEAVES ? ease(Math.min(1, (u - LEAVES) / 0.03)) : 0;
    return mid(u) + ripple(u) * half(u) * 0.5 - rise * height * 0.36;
  };
  const across = (to: number, n: number): number[] => Array.from({ length: n + 1 }, (_, i) => (i / n) * to);
  const x = (u: number): number => u * width;
  const wide = across(1, 240);
  const edge = (sign: 1 | -1): string => line<number>().x(x).y((u) => mid(u) + sign * half(u))(wide) ?? '';
  const at = (u: number): { x: number; y: number } => ({ x: x(u), y: came(u) });
  return {
    band: area<number>().x(x).y0((u) => mid(u) - half(u)).y1((u) => mid(u) + half(u))(wide) ?? '',
    low: edge(1),
    high: edge(-1),
    came: line<number>().x(x).y(came)(across(ENDS, 620)) ?? '',
    left: at(LEAVES + 0.009),
    end: at(ENDS),
    said: { x: x(0.94), y: mid(0.94) + 4 },
  };
}
