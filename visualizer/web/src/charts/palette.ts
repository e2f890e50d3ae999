/**
 * Colours for canvas. The tokens live in CSS (`light-dark()`), which a canvas can't read: they are resolved once for each theme.
 * Keeps: after `forget()` (theme change) the next drawing asks again.
 */
const NAMES = ['s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 'crowd', 'odd', 'surface'] as const;
export type Token = (typeof NAMES)[number];

let known: Record<Token, string> | null = null;

export function palette(): Record<Token, string> {
  if (known) return known;
  const probe = document.createElement('i');
  probe.hidden = true;
  document.body.append(probe);
  const out = {} as Record<Token, string>;
  for (const n of NAMES) {
    probe.style.color = `var(--${n})`;
    out[n] = getComputedStyle(probe).color;
  }
  probe.remove();
  known = out;
  return out;
}

export function forget(): void {
  known = null;
}

/** The token of a rank: 1 to 8, or the crowd. */
export const seriesToken = (colour: number): Token => (colour === 0 ? 'crowd' : (`s${colour}` as Token));
