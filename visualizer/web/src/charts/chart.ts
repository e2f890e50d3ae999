/**
 * One chart: a figure with a head, a legend and a plot of four layers (svg under, canvas, svg over, svg cross).
 * In: a `ChartSpec`, again and again. Out: a drawing. Keeps: it is drawn only while in view; place and height never change;
 * what a test needs to know (range, plot size, gaps, crosshair) stands in the figure's data attributes.
 */
import { axisUnit, clock, plural, value } from '../format';
import { cross, indexAt } from './cross';
import { type Gap, gaps, lastValue, valueAt } from './gaps';
import type { ChartGroup } from './group';
import { Legend } from './legend';
import { type Layout, over, under } from './overlay';
import { paint } from './paint';
import { pointer } from './pointer';
import { type Ranking, ranking } from './rank';
import { html, svg } from './svg';
import { extent, scales, xTicks, yScale, yTicks } from './ticks';
import type { ChartSpec, Line } from './types';

export const PLOT = 136;
const AXIS = 20;
export const GUTTER = 34;

export class Chart {
  readonly figure = html('figure', 'chart');
  readonly plot = html('div', 'plot');
  private readonly title = html('h3', 'chart-title');
  private readonly sub = html('span', 'chart-sub');
  private readonly flag = html('span', 'chart-flag');
  private readonly legendBox = html('div', 'legend');
  private readonly below = svg('svg', { class: 'layer under', 'aria-hidden': 'true' });
  private readonly canvas = html('canvas');
  private readonly above = svg('svg', { class: 'layer over', 'aria-hidden': 'true' });
  private readonly top = svg('svg', { class: 'layer over', 'aria-hidden': 'true' });
  private readonly summary = html('figcaption', 'unseen');
  private readonly unlisten: () => void;
  private spec: ChartSpec | null = null;
  private layout: Layout | null = null;
  private legend: Legend | null = null;
  private focus: string | null = null;
  private width = 0;
  private visible = false;
  private dirty = true;
  private frame = 0;

  constructor(
    host: HTMLElement,
    private readonly group: ChartGroup,
  ) {
    const head = html('div', 'chart-head');
    head.append(this.title, this.sub, this.flag);
    this.canvas.setAttribute('aria-hidden', 'true');
    this.plot.tabIndex = 0;
    this.plot.setAttribute('role', 'group');
    this.plot.setAttribute('aria-roledescription', 'chart');
    this.plot.append(this.below, this.canvas, this.above, this.top);
    this.figure.append(head, this.legendBox, this.plot, this.summary);
    host.append(this.figure);
    group.add(this, this.plot);
    this.unlisten = pointer(this, this.plot, this.top, group);
  }

  destroy(): void {
    this.unlisten();
    this.group.remove(this.plot);
    cancelAnimationFrame(this.frame);
    this.figure.remove();
  }

  set(spec: ChartSpec): void {
    this.spec = spec;
    this.title.textContent = spec.title;
    this.redraw();
  }

  redraw(): void {
    this.dirty = true;
    if (!this.visible || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  setVisible(on: boolean): void {
    this.visible = on;
    if (on && this.dirty) this.redraw();
  }

  setWidth(px: number): void {
    const width = Math.max(0, Math.floor(px) - GUTTER);
    if (width === this.width) return;
    this.width = width;
    this.redraw();
  }

  get step(): number {
    return this.spec?.step ?? 1;
  }

  get plotWidth(): number {
    return this.width;
  }

  /** The sample nearest to a place in the plot. */
  timeAt(px: number): number | null {
    if (!this.layout) return null;
    return this.clampTime(this.layout.scales.time(Math.min(this.width, Math.max(0, px))));
  }

  /** The exact time at a place, for a zoom. */
  rawTimeAt(px: number): number | null {
    return this.layout ? this.layout.scales.time(Math.min(this.width, Math.max(0, px))) : null;
  }

  clampTime(t: number): number {
    const s = this.spec;
    if (!s) return t;
    const first = Math.ceil((s.from - s.t0) / s.step);
    const last = Math.floor((s.to - s.t0) / s.step);
    return s.t0 + Math.min(last, Math.max(first, Math.round((t - s.t0) / s.step))) * s.step;
  }

  lastTime(): number {
    return this.clampTime(this.spec?.to ?? 0);
  }

  /** The crosshair in words, for those who do not see it. */
  readAt(t: number): string {
    const l = this.layout;
    if (!l) return '';
    const i = indexAt(l, t);
    const parts = l.ranking.named.map((n) => `${n.line.name} ${value(valueAt(n.line.avg, i), l.spec.unit)}`);
    return `${l.spec.title}, ${clock(t)}: ${parts.join(', ')}`;
  }

  showCross(t: number | null, own: boolean, pinned: boolean): void {
    if (t === null) delete this.figure.dataset.cross;
    else this.figure.dataset.cross = String(t);
    if (!this.visible || !this.layout) return;
    cross(this.top, this.layout, t, own);
    this.legend?.show(t === null ? null : indexAt(this.layout, t));
    if (own && t !== null) this.group.tooltip.show(this.plot, this.layout, t, pinned);
  }

  private draw(): void {
    const spec = this.spec;
    if (!spec || this.width <= 0) return;
    const start = performance.now();
    this.dirty = false;
    const rank = ranking(spec.lines, spec.odd);
    const band = this.bandLine(spec, rank)?.band ?? null;
    const y = yScale(spec, spec.lines, band);
    const unit = axisUnit(spec.unit, y.high);
    const holes = gaps(spec.lines, spec);
    const s = scales(spec.from, spec.to, y, this.width, PLOT);
    this.layout = {
      spec, ranking: rank, band, gaps: holes, scales: s, width: this.width, height: PLOT,
      yTicks: yTicks(y, unit.divisor), xTicks: xTicks(spec.from, spec.to, this.width), divisor: unit.divisor,
    };
    for (const layer of [this.below, this.above, this.top]) {
      layer.setAttribute('width', String(layer === this.below ? this.width : this.width + GUTTER));
      layer.setAttribute('height', String(PLOT + AXIS));
    }
    this.head(spec, rank, unit.label, y.log);
    this.legend = new Legend(this.legendBox, rank, spec.unit, band !== null, (key) => this.point(key));
    under(this.below, this.layout);
    paint({ canvas: this.canvas, width: this.width, height: PLOT, t0: spec.t0, step: spec.step, scales: s, focus: this.focus }, rank);
    over(this.above, this.layout);
    this.describe(spec, rank, holes);
    this.figure.dataset.paintMs = (performance.now() - start).toFixed(2);
    this.group.refresh(this);
  }

  /** Whose band: the line pointed at, else the suspect, else the chart's own choice, else a line that is alone. */
  private bandLine(spec: ChartSpec, rank: Ranking): Line | undefined {
    const key = this.focus ?? rank.suspect ?? spec.bandOf;
    const chosen = spec.lines.find((l) => l.key === key);
    return chosen ?? (spec.lines.length === 1 ? spec.lines[0] : undefined);
  }

  private point(key: string | null): void {
    if (this.focus === key || !this.spec || !this.layout) return;
    this.focus = key;
    // lines and band only: making the legend anew would pull the key from under the pointer
    const band = this.bandLine(this.spec, this.layout.ranking)?.band ?? null;
    this.layout = { ...this.layout, band };
    under(this.below, this.layout);
    paint({ canvas: this.canvas, width: this.width, height: PLOT, t0: this.spec.t0, step: this.spec.step, scales: this.layout.scales, focus: key }, this.layout.ranking);
  }

  private head(spec: ChartSpec, rank: Ranking, label: string, log: boolean): void {
    this.sub.textContent = [
      [label, spec.sub].filter(Boolean).join(' '),
      ...(rank.crowd.length > 0 ? [`top ${rank.named.length} of ${spec.lines.length} named`] : []),
      ...(log ? ['log scale'] : []),
    ].filter(Boolean).join(', ');
    const suspect = spec.lines.find((l) => l.key === rank.suspect);
    this.flag.replaceChildren();
    if (suspect) this.flag.append(html('span', 'tag odd', `◆ ${suspect.name}`));
  }

  private describe(spec: ChartSpec, rank: Ranking, holes: readonly Gap[]): void {
    const lines = rank.named.map((n) => {
      const e = extent([n.line.avg]);
      if (!e) return `${n.line.name} no data`;
      return `${n.line.name} ${value(lastValue(n.line.avg), spec.unit)}, from ${value(e.min, spec.unit)} to ${value(e.max, spec.unit)}`;
    });
    const full = holes.filter((g) => !g.partial);
    const parts = [`${spec.title}, ${clock(spec.from)} to ${clock(spec.to)}.`, ...lines.map((l) => `${l}.`)];
    if (rank.crowd.length > 0) parts.push(`${rank.crowd.length} more.`);
    if (full.length > 0) parts.push(`No data in ${plural(full.length, 'period')}.`);
    if (spec.odd.length > 0) parts.push(`Outside its expected range in ${plural(spec.odd.length, 'period')}.`);
    this.summary.textContent = parts.join(' ');
    this.plot.setAttribute('aria-label', `${spec.title}. Arrow keys move through the samples, Enter holds.`);
    const d = this.figure.dataset;
    d.id = spec.id;
    d.from = String(spec.from);
    d.to = String(spec.to);
    d.step = String(spec.step);
    d.plotWidth = String(this.width);
    d.gaps = JSON.stringify(full.map((g) => [g.from, g.to]));
    d.odd = String(spec.odd.length);
    d.latest = String(latest(spec));
  }
}

/** Time of the newest sample of any line, 0 without one. */
function latest(spec: ChartSpec): number {
  let i = -1;
  for (const l of spec.lines) i = Math.max(i, l.avg.findLastIndex((v) => v !== null));
  return i < 0 ? 0 : spec.t0 + i * spec.step;
}
