/**
 * The crosshair: the only layer that moves with the pointer. In: a layout and a time. Out: one rule, a dot on each named
 * line and, in the pointer's own chart, the time on its axis. Keeps: it touches neither canvas nor the other layers (2 ms budget).
 */
import { clock } from '../format';
import { valueAt } from './gaps';
import type { Layout } from './overlay';
import { svg } from './svg';

const TAG = 56;

export function indexAt(l: Layout, t: number): number {
  return Math.round((t - l.spec.t0) / l.spec.step);
}

export function cross(layer: SVGSVGElement, l: Layout, t: number | null, own: boolean): void {
  if (t === null) {
    layer.replaceChildren();
    return;
  }
  const { width: w, height: h, scales: s } = l;
  const raw = s.x(t);
  if (raw < -1 || raw > w + 1) {
    layer.replaceChildren();
    return;
  }
  const x = Math.round(raw) + 0.5;
  const out: SVGElement[] = [svg('path', { class: 'cross-line', d: `M${x} 0V${h + 1}` })];
  const i = indexAt(l, t);
  for (const n of l.ranking.named) {
    const v = valueAt(n.line.avg, i);
    if (v !== null) out.push(svg('circle', { class: `cross-dot c${n.colour}`, cx: raw, cy: s.y(v), r: 3 }));
  }
  if (own) {
    const left = Math.min(w - TAG + 34, Math.max(0, raw - TAG / 2));
    out.push(
      svg('rect', { class: 'cross-tag', x: left, y: h + 3, width: TAG, height: 16, rx: 2 }),
      svg('text', { class: 'cross-time', x: left + TAG / 2, y: h + 15, 'text-anchor': 'middle' }, clock(t)),
    );
  }
  layer.replaceChildren(...out);
}
