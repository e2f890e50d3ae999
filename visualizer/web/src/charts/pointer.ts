/**
 * Hands on a chart. In: pointer and key events of one plot. Out: hover, pin, zoom and steps for its group.
 * Keeps: a drag shorter than 6 px is a click; a finger never zooms by accident (it moves the crosshair, the page scrolls).
 */
import type { Chart } from './chart';
import { PLOT } from './chart';
import type { ChartGroup } from './group';
import { svg } from './svg';

const LEAST_DRAG = 6;

export function pointer(chart: Chart, plot: HTMLElement, layer: SVGSVGElement, group: ChartGroup): () => void {
  const stop = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(type: K, f: (e: HTMLElementEventMap[K]) => void): void =>
    plot.addEventListener(type, f, { signal: stop.signal });
  let start: number | null = null;
  let brush: SVGRectElement | null = null;
  const place = (e: PointerEvent | MouseEvent): number => e.clientX - plot.getBoundingClientRect().left;

  const finish = (): void => {
    start = null;
    if (brush) {
      brush.remove();
      brush = null;
      group.drag(false);
    }
  };

  on('pointerdown', (e) => {
    if (e.button !== 0) return;
    start = place(e);
    if (e.pointerType === 'mouse') plot.setPointerCapture(e.pointerId);
  });
  on('pointermove', (e) => {
    const x = place(e);
    if (start !== null && e.pointerType === 'mouse' && (brush || Math.abs(x - start) >= LEAST_DRAG)) {
      if (!brush) {
        group.drag(true);
        brush = svg('rect', { class: 'brush', y: 0, height: PLOT });
      }
      if (!brush.isConnected) layer.append(brush);
      const a = Math.max(0, Math.min(start, x));
      const b = Math.min(chart.plotWidth, Math.max(start, x));
      brush.setAttribute('x', String(a));
      brush.setAttribute('width', String(Math.max(0, b - a)));
      return;
    }
    const t = chart.timeAt(x);
    if (t !== null) group.hover(chart, t);
  });
  on('pointerup', (e) => {
    if (start === null) return;
    const began = start;
    const dragged = brush !== null;
    const x = place(e);
    finish();
    if (dragged) {
      const a = chart.rawTimeAt(Math.min(began, x));
      const b = chart.rawTimeAt(Math.max(began, x));
      // fewer than three samples would be a picture of nothing
      if (a !== null && b !== null && b - a >= 3 * chart.step) group.events.onZoom({ from: a, to: b });
      return;
    }
    const t = chart.timeAt(x);
    if (t !== null) group.pin(chart, t);
  });
  on('pointercancel', finish);
  on('pointerleave', () => {
    if (start === null) group.leave();
  });
  on('dblclick', (e) => {
    e.preventDefault();
    group.escape();
    group.events.onBack();
  });
  on('keydown', (e) => {
    const far = e.shiftKey ? 10 : 1;
    if (e.key === 'ArrowLeft') group.step(chart, -far);
    else if (e.key === 'ArrowRight') group.step(chart, far);
    else if (e.key === 'Enter') group.pinHere(chart);
    else if (e.key === 'Escape' && brush) finish();
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  on('blur', () => group.leave());
  return () => stop.abort();
}
