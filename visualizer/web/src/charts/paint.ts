/**
 * Lines on the canvas: envelopes first, then the crowd, then the named lines, the suspect last.
 * In: ranked lines and scales. Out: ink. Keeps: nothing is drawn between two runs, so a gap has no ink at all.
 */
import { area, line } from 'd3-shape';
import { runs } from './gaps';
import { palette, seriesToken } from './palette';
import type { Ranking } from './rank';
import type { Scales } from './ticks';
import type { Column, Ranked } from './types';

export interface Sheet {
  readonly canvas: HTMLCanvasElement;
  readonly width: number;
  readonly height: number;
  readonly t0: number;
  readonly step: number;
  readonly scales: Scales;
  /** The line a reader points at in the legend: the others step back. */
  readonly focus: string | null;
}

/** Room above and left of the plot, so that a line at the very edge keeps its full width. */
export const BLEED = 2;

export function paint(s: Sheet, r: Ranking): void {
  const ctx = prepare(s.canvas, s.width + 2 * BLEED, s.height + 2 * BLEED);
  if (!ctx) return;
  ctx.save();
  ctx.translate(BLEED, BLEED);
  // what lies before the range belongs to no one; the right edge keeps its round end
  ctx.beginPath();
  ctx.rect(0, -BLEED, s.width + BLEED, s.height + 2 * BLEED);
  ctx.clip();
  ctx.lineJoin = 'round';
  ctx.lineCap = 'round';
  const first = r.named.filter((n) => n.line.key === r.suspect);
  const others = r.named.filter((n) => n.line.key !== r.suspect).reverse();
  const order = [...r.crowd, ...others, ...first];
  for (const n of order) if (n.colour > 0) envelope(ctx, s, n);
  for (const n of order) stroke(ctx, s, n);
  ctx.restore();
}

function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const dpr = globalThis.devicePixelRatio || 1;
  const w = Math.round(width * dpr);
  const h = Math.round(height * dpr);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const ctx = canvas.getContext('2d');
  if (!ctx) return null;
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}

function faded(s: Sheet, n: Ranked): number {
  return s.focus !== null && s.focus !== n.line.key ? 0.22 : 1;
}

function envelope(ctx: CanvasRenderingContext2D, s: Sheet, n: Ranked): void {
  const { min, max, avg } = n.line;
  if (!min || !max) return;
  const at = (c: Column, i: number): number => c[i] ?? avg[i] ?? 0;
  const shape = area<number>()
    .x((i) => s.scales.x(s.t0 + i * s.step))
    .y0((i) => s.scales.y(at(min, i)))
    .y1((i) => s.scales.y(at(max, i)))
    .context(ctx);
  ctx.globalAlpha = 0.2 * faded(s, n);
  ctx.fillStyle = palette()[seriesToken(n.colour)];
  ctx.beginPath();
  for (const run of runs(avg)) if (run.length > 1) shape(run);
  ctx.fill();
  ctx.globalAlpha = 1;
}

function stroke(ctx: CanvasRenderingContext2D, s: Sheet, n: Ranked): void {
  const { avg } = n.line;
  const x = (i: number): number => s.scales.x(s.t0 + i * s.step);
  const y = (i: number): number => s.scales.y(avg[i] ?? 0);
  const shape = line<number>().x(x).y(y).context(ctx);
  const colour = palette()[seriesToken(n.colour)];
  ctx.globalAlpha = faded(s, n);
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.lineWidth = n.colour === 0 ? 1 : 1.5;
  ctx.beginPath();
  const alone: number[] = [];
  for (const run of runs(avg)) {
    if (run.length > 1) shape(run);
    else alone.push(run[0]);
  }
  ctx.stroke();
  // a sample with gaps on both sides has no line; it still happened
  for (const i of alone) {
    ctx.beginPath();
    ctx.arc(x(i), y(i), 1.25, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
}
