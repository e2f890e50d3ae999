/**
 * Light or dark: the system's choice until the reader makes one, which is kept in local storage.
 * Keeps: everything that has read a colour (canvases) is told when colours change.
 */
import { forget } from './charts/palette';

export type Theme = 'light' | 'dark';
const KEY = 'tidewatch-theme';
const listeners = new Set<() => void>();

const stored = (): Theme | null => {
  try {
    const t = localStorage.getItem(KEY);
    return t === 'light' || t === 'dark' ? t : null;
  } catch {
    return null; // storage may be forbidden; the system's theme is fine
  }
};

const system = matchMedia('(prefers-color-scheme: dark)');

export const theme = (): Theme => stored() ?? (system.matches ? 'dark' : 'light');

function apply(): void {
  const chosen = stored();
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  forget();
  for (const f of listeners) f();
}

export function startTheme(): void {
  system.addEventListener('change', apply);
  apply();
}

export function toggleTheme(): void {
  const next: Theme = theme() === 'dark' ? 'light' : 'dark';
  try {
    localStorage.setItem(KEY, next);
  } catch {
    document.documentElement.dataset.theme = next;
  }
  apply();
}

export function onTheme(f: () => void): () => void {
  listeners.add(f);
  return () => listeners.delete(f);
}
