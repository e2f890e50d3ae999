/** Which rows of a long table are in the document. In: counts and pixels. Out: a slice and the room before and after it. */
export interface Slice {
  readonly from: number;
  readonly to: number;
  readonly before: number;
  readonly after: number;
}

const ALL = 150;
const AROUND = 20;

export function slice(total: number, scrolled: number, screen: number, row: number): Slice {
  if (total <= ALL) return { from: 0, to: total, before: 0, after: 0 };
  const first = Math.max(0, Math.min(total - 1, Math.floor(scrolled / row) - AROUND));
  const to = Math.min(total, first + Math.ceil(screen / row) + 2 * AROUND);
  return { from: first, to, before: first * row, after: (total - to) * row };
}
