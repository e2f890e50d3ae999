/**
 * The charts of one page: one crosshair, one tooltip, one zoom. In: pointer and key events of any chart. Out: the same time
 * on all of them. Keeps: the time is snapped once, here, so every chart shows the same sample; only charts in view are drawn.
 */
import type { Span } from '../time';
import type { Chart } from './chart';
import { Tooltip } from './tooltip';

export interface GroupEvents {
  readonly onZoom: (span: Span) => void;
  readonly onBack: () => void;
  /** A crosshair moved by keys is read out. */
  readonly onRead?: (text: string) => void;
}

export class ChartGroup {
  readonly tooltip = new Tooltip();
  private readonly charts = new Map<Element, Chart>();
  private readonly seen: IntersectionObserver;
  private readonly sized: ResizeObserver;
  private time: number | null = null;
  private active: Chart | null = null;
  private pinned = false;
  private dragging = false;
  private frame = 0;

  constructor(readonly events: GroupEvents) {
    this.seen = new IntersectionObserver((entries) => {
      for (const e of entries) this.charts.get(e.target)?.setVisible(e.isIntersecting);
    }, { rootMargin: '400px' });
    this.sized = new ResizeObserver((entries) => {
      for (const e of entries) this.charts.get(e.target)?.setWidth(e.contentRect.width);
    });
  }

  /** While a reader holds a time or draws a zoom, the page should not move under the hand. */
  get held(): boolean {
    return this.pinned || this.dragging;
  }

  get isPinned(): boolean {
    return this.pinned;
  }

  add(chart: Chart, plot: Element): void {
    this.charts.set(plot, chart);
    this.seen.observe(plot);
    this.sized.observe(plot);
  }

  remove(plot: Element): void {
    const chart = this.charts.get(plot);
    this.charts.delete(plot);
    this.seen.unobserve(plot);
    this.sized.unobserve(plot);
    if (chart === this.active) this.clear();
  }

  destroy(): void {
    this.seen.disconnect();
    this.sized.disconnect();
    this.tooltip.hide();
    cancelAnimationFrame(this.frame);
  }

  hover(chart: Chart, t: number): void {
    if (this.pinned) return;
    this.move(chart, t);
  }

  leave(): void {
    if (!this.pinned) this.clear();
  }

  /** A click: hold the crosshair where it is, or let it go. */
  pin(chart: Chart, t: number): void {
    if (this.pinned) {
      this.pinned = false;
      this.move(chart, t);
      return;
    }
    this.move(chart, t);
    this.pinned = true;
  }

  /** Arrow keys, in samples. */
  step(chart: Chart, samples: number): void {
    const base = this.active === chart && this.time !== null ? this.time : chart.lastTime();
    const t = chart.clampTime(base + samples * chart.step);
    this.move(chart, t);
    this.events.onRead?.(chart.readAt(t));
  }

  pinHere(chart: Chart): void {
    if (this.time !== null) this.pin(chart, this.time);
  }

  /** Esc: first the pin, then the zoom. True when there was something to let go. */
  escape(): boolean {
    if (!this.pinned && this.time === null) return false;
    const was = this.pinned;
    this.clear();
    return was;
  }

  drag(on: boolean): void {
    this.dragging = on;
    if (on) this.clear();
  }

  redraw(): void {
    for (const c of this.charts.values()) c.redraw();
  }

  /** After a chart was drawn anew its crosshair has to be placed again. */
  refresh(chart: Chart): void {
    chart.showCross(this.time, chart === this.active, this.pinned);
  }

  private clear(): void {
    this.pinned = false;
    this.time = null;
    this.active = null;
    this.tooltip.hide();
    this.schedule();
  }

  private move(chart: Chart, t: number): void {
    if (this.active !== chart) this.tooltip.hide();
    this.active = chart;
    this.time = t;
    this.schedule();
  }

  private schedule(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const c of this.charts.values()) c.showCross(this.time, c === this.active, this.pinned);
    });
  }
}
