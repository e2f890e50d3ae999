/**
 * Who gets a colour. In: the lines of a chart and what is odd. Out: at most eight coloured lines, the rest as a crowd.
 * Keeps: the suspect takes series 1 and is drawn last; beyond eight lines only the top three are named; never a ninth colour.
 */
import { lastValue } from './gaps';
import type { Line, Odd, Ranked } from './types';

const MOST = 8;
const NAMED = 3;

function level(l: Line): number {
  const now = lastValue(l.avg);
  if (now !== null) return now;
  for (let i = l.avg.length - 1; i >= 0; i--) {
    const v = l.avg[i];
    if (v !== null) return v;
  }
  return -Infinity;
}

export interface Ranking {
  /** In the order of the legend. */
  readonly named: Ranked[];
  readonly crowd: Ranked[];
  readonly suspect: string | null;
}

export function ranking(lines: readonly Line[], odd: readonly Odd[]): Ranking {
  const scores = new Map<string, number>();
  for (const o of odd) scores.set(o.key, Math.max(scores.get(o.key) ?? 0, o.score));
  const worst = lines.filter((l) => scores.has(l.key)).sort((a, b) => (scores.get(b.key) ?? 0) - (scores.get(a.key) ?? 0));
  const suspect = worst[0]?.key ?? null;
  const first = (l: Line): number => (l.key === suspect ? 0 : 1);
  if (lines.length <= MOST) {
    const order = [...lines].sort((a, b) => first(a) - first(b));
    return { named: order.map((line, i) => ({ line, colour: i + 1 })), crowd: [], suspect };
  }
  const byLevel = [...lines].sort((a, b) => (scores.get(b.key) ?? 0) - (scores.get(a.key) ?? 0) || level(b) - level(a));
  return {
    named: byLevel.slice(0, NAMED).map((line, i) => ({ line, colour: i + 1 })),
    crowd: byLevel.slice(NAMED).map((line) => ({ line, colour: 0 })),
    suspect,
  };
}
