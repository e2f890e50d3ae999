/**
 * Everything in a chart that is not a line: grid, expected band and hatch below the canvas; axes, limits, marks and the
 * live edge above it. In: a layout. Out: two SVG layers. Keeps: crosshair moves touch neither, only `cross.ts` does.
 */
import { area, line } from 'd3-shape';
import { clockShort, number, score } from '../format';
import type { Gap } from './gaps';
import { lastValue } from './gaps';
import type { Ranking } from './rank';
import { svg } from './svg';
import type { Scales, XTick } from './ticks';
import type { ChartSpec, Line } from './types';

export interface Layout {
  readonly spec: ChartSpec;
  readonly ranking: Ranking;
  readonly band: Line['band'];
  readonly gaps: readonly Gap[];
  readonly scales: Scales;
  readonly width: number;
  readonly height: number;
  readonly yTicks: readonly number[];
  readonly xTicks: readonly XTick[];
  readonly divisor: number;
}

const GUTTER_TEXT = 6;
const FOOT = 10;
const WIDE_ENOUGH = 26;
const LABEL_ACROSS = 52;

let serial = 0;

export function under(layer: SVGSVGElement, l: Layout): void {
  const { width: w, height: h, scales: s } = l;
  const out: SVGElement[] = [];
  for (const v of l.yTicks) {
    const y = Math.round(s.y(v)) + 0.5;
    out.push(svg('path', { class: 'grid-line', d: `M0 ${y}H${w}` }));
  }
  if (l.band) out.push(...bandPaths(l, l.band));
  const id = `hatch-${serial++}`;
  const pattern = svg('pattern', { id, width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' });
  pattern.append(svg('path', { class: 'hatch-line', d: 'M0 -1V7' }));
  const defs = svg('defs');
  defs.append(pattern);
  out.push(defs);
  for (const g of l.gaps) {
    const [x0, x1] = clip(s.x(g.from), s.x(g.to), w);
    if (x1 - x0 < 1) continue;
    // two pixels of air on each side: the line's own end must not look hatched
    const top = g.partial ? h - FOOT : 0;
    out.push(svg('rect', { class: 'gap', fill: `url(#${id})`, x: x0 + 2, y: top, width: Math.max(1, x1 - x0 - 4), height: h - top }));
  }
  out.push(svg('path', { class: 'base-line', d: `M0 ${h + 0.5}H${w}` }));
  layer.replaceChildren(...out);
}

function bandPaths(l: Layout, band: NonNullable<Line['band']>): SVGElement[] {
  const { spec, scales: s, height: h } = l;
  const x = (i: number): number => s.x(spec.t0 + i * spec.step);
  const ok = (i: number): boolean => band.low[i] !== null && band.low[i] !== undefined && band.high[i] !== null && band.high[i] !== undefined;
  const y = (v: number | null): number => Math.min(h, Math.max(-1, s.y(v ?? 0)));
  const all = Array.from({ length: band.low.length }, (_, i) => i);
  const shape = area<number>().defined(ok).x(x).y0((i) => y(band.low[i])).y1((i) => y(band.high[i]));
  const edge = (c: 'low' | 'high'): string => line<number>().defined(ok).x(x).y((i) => y(band[c][i]))(all) ?? '';
  return [
    svg('path', { class: 'band', d: shape(all) ?? '' }),
    svg('path', { class: 'band-edge', d: edge('low') }),
    svg('path', { class: 'band-edge', d: edge('high') }),
  ];
}

export function over(layer: SVGSVGElement, l: Layout): void {
  const { spec, width: w, height: h, scales: s } = l;
  const out: SVGElement[] = [];
  for (const v of l.yTicks) out.push(svg('text', { class: 'tick-y', x: w + GUTTER_TEXT, y: Math.max(9, s.y(v) + 4) }, number(v / l.divisor)));
  out.push(...bottom(l));
  for (const limit of spec.limits ?? []) {
    const y = Math.round(s.y(limit.value)) + 0.5;
    if (y < 0 || y > h) continue;
    out.push(svg('path', { class: 'limit', d: `M0 ${y}H${w}` }), svg('text', { class: 'limit-label', x: 0, y: Math.max(10, y - 4) }, limit.label));
  }
  if (spec.since !== null && spec.since > spec.from && spec.since < spec.to) out.push(...began(l, spec.since));
  for (const g of l.gaps) {
    const [x0, x1] = clip(s.x(g.from), s.x(g.to), w);
    if (g.partial || x1 - x0 < WIDE_ENOUGH) continue;
    const x = (x0 + x1) / 2;
    const turn = x1 - x0 < LABEL_ACROSS ? { transform: `rotate(-90 ${x} ${h / 2})` } : {};
    out.push(svg('text', { class: 'gap-label', x, y: h / 2 + 4, 'text-anchor': 'middle', ...turn }, 'no data'));
  }
  out.push(...oddMarks(l));
  if (spec.live) out.push(...edge(l));
  layer.replaceChildren(...out);
}

function bottom(l: Layout): SVGElement[] {
  const { spec, width: w, height: h, scales: s } = l;
  const out: SVGElement[] = [];
  // "now" and the first label keep their room; a tick mark may stand where its label can't
  const right = spec.live ? w - 34 : w;
  let free = -4;
  for (const t of l.xTicks) {
    const x = Math.round(s.x(t.t)) + 0.5;
    out.push(svg('path', { class: 'tick-mark', d: `M${x} ${h + 0.5}v3.5` }));
    const half = t.label.length * 3.1;
    if (x - half < free || x + half > right + (spec.live ? 0 : 30)) continue;
    out.push(svg('text', { class: t.midnight ? 'tick-day' : 'tick-x', x, y: h + 15, 'text-anchor': 'middle' }, t.label));
    free = x + half + 8;
  }
  if (spec.live) out.push(svg('text', { class: 'tick-now', x: w, y: h + 15, 'text-anchor': 'end' }, 'now'));
  return out;
}

function began(l: Layout, since: number): SVGElement[] {
  const x = Math.round(l.scales.x(since)) + 0.5;
  const rule = svg('path', { class: 'event', d: `M${x} 0V${l.height}` });
  // on the empty side alone: to the right of it are the lines
  if (x < 96) return [rule];
  return [rule, svg('text', { class: 'event-label', x: x - 6, y: l.height / 2 + 4, 'text-anchor': 'end' }, `first seen ${clockShort(since)}`)];
}

function oddMarks(l: Layout): SVGElement[] {
  const { spec, width: w, height: h, scales: s } = l;
  const out: SVGElement[] = [];
  for (const o of spec.odd) {
    const [x0, x1] = clip(s.x(o.from), s.x(o.to), w);
    if (x1 < 0 || x0 > w) continue;
    out.push(svg('rect', { class: 'odd-bar', x: x0, y: h - 2, width: Math.max(3, x1 - x0), height: 3 }));
  }
  // one diamond a line, at its highest score: more would hide what they point at
  const peak = new Map<string, ChartSpec['odd'][number]>();
  for (const o of spec.odd) if (o.score > (peak.get(o.key)?.score ?? -1)) peak.set(o.key, o);
  for (const o of [...peak.values()].sort((a, b) => b.score - a.score).slice(0, 3)) {
    if (o.to < spec.from || o.from > spec.to) continue;
    const x = Math.min(w - 6, Math.max(6, s.x(Math.max(o.from, spec.from))));
    const y = Math.min(h - 7, Math.max(7, s.y(o.value)));
    const g = svg('g', { class: 'mark', transform: `translate(${x},${y})` });
    g.append(svg('path', { d: 'M0,-5L5,0L0,5L-5,0Z' }));
    const below = y < 24;
    const end = x > w - 24;
    g.append(svg('text', { y: below ? 18 : -9, x: end ? 5 : 0, 'text-anchor': end ? 'end' : 'middle' }, score(o.score)));
    out.push(g);
  }
  return out;
}

function edge(l: Layout): SVGElement[] {
  const { spec, scales: s } = l;
  const out: SVGElement[] = [];
  for (const n of [...l.ranking.named].reverse()) {
    const v = lastValue(n.line.avg);
    const i = n.line.avg.findLastIndex((a) => a !== null);
    if (v === null || i < 0) continue;
    const t = spec.t0 + i * spec.step;
    // only a line that reaches the edge ends in a dot
    if (spec.to - t > 2.5 * spec.step) continue;
    out.push(svg('circle', { class: `live-dot c${n.colour}`, cx: s.x(t), cy: s.y(v), r: 2.5 }));
  }
  return out;
}

function clip(x0: number, x1: number, w: number): [number, number] {
  return [Math.max(0, x0), Math.min(w, x1)];
}
