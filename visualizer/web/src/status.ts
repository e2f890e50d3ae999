/**
 * The six statuses in one place: their order (worst first), their words, and how many servers have each.
 * Keeps: a status is always a shape and a word; colour only helps.
 */
import type { Status } from './api';
import { count } from './format';

export const STATUSES: readonly Status[] = ['critical', 'warning', 'silent', 'odd', 'learning', 'ok'];

export const WORD: Record<Status, string> = {
  critical: 'Critical',
  warning: 'Warning',
  odd: 'Odd',
  ok: 'OK',
  silent: 'Silent',
  learning: 'Learning',
};

const RANK = new Map(STATUSES.map((s, i) => [s, i]));

export const rank = (s: Status): number => RANK.get(s) ?? STATUSES.length;

/** How many servers have each status. */
export function tally(servers: readonly { status: Status }[]): Record<Status, number> {
  const out: Record<Status, number> = { critical: 0, warning: 0, odd: 0, ok: 0, silent: 0, learning: 0 };
  for (const s of servers) out[s.status] += 1;
  return out;
}

/** The page's plain sentence under "25 servers". */
export function fleetSentence(servers: readonly { status: Status }[]): string {
  const n = tally(servers);
  const look = n.critical + n.warning + n.odd + n.silent;
  const parts: string[] = [];
  if (look > 0) parts.push(`${count(look)} ${look === 1 ? 'needs' : 'need'} a look`);
  if (n.ok > 0) parts.push(`${count(n.ok)} ${n.ok === 1 ? 'is in its bands' : 'are in their bands'}`);
  if (n.learning > 0) parts.push(`${count(n.learning)} still learning`);
  return parts.join(', ');
}

/** Worst first, then most alerts, then by name; a stable order that does not jump with values. */
export function worstFirst<T extends { status: Status; open_alerts: number; name: string }>(servers: readonly T[]): T[] {
  return [...servers].sort(
    (a, b) => rank(a.status) - rank(b.status) || b.open_alerts - a.open_alerts || a.name.localeCompare(b.name, 'en', { numeric: true }),
  );
}
