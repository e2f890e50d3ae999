/**
 * What a chart is given. Nothing here knows of servers, metrics or pages: a chart draws columns of numbers over time.
 * Keeps: all lines of one chart share `t0` and `step`; times are milliseconds since 1970; `null` is "nothing received".
 */
import type { Unit } from '../format';

export type Column = readonly (number | null)[];

export interface Line {
  readonly key: string;
  readonly name: string;
  readonly avg: Column;
  /** Envelope, where the tier has one; the line alone is drawn without it. */
  readonly min?: Column;
  readonly max?: Column;
  readonly band?: { readonly low: Column; readonly high: Column } | null;
}

/** A period in which one line was outside its band. */
export interface Odd {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly score: number;
  readonly value: number;
}

export interface Limit {
  readonly value: number;
  readonly label: string;
}

export interface ChartSpec {
  readonly id: string;
  readonly title: string;
  /** Said beside the title, after the unit: "by device", "of all cores". */
  readonly sub: string;
  readonly unit: Unit;
  readonly lines: readonly Line[];
  readonly t0: number;
  readonly step: number;
  readonly from: number;
  readonly to: number;
  /** The right edge is now. */
  readonly live: boolean;
  /** Nothing was expected before this time: emptiness there is no gap. */
  readonly since: number | null;
  /** What lies after this has not happened yet; the end of the range, unless told. */
  readonly until?: number;
  readonly odd: readonly Odd[];
  readonly limits?: readonly Limit[];
  /** A fixed upper end, e.g. 100 for percent or the size of the memory. */
  readonly top?: number;
  /** The axis never ends below this, so that noise near zero stays small. */
  readonly leastTop?: number;
  /** The axis never ends above this. */
  readonly mostTop?: number;
  /** Whose expected band is drawn while no line is odd. */
  readonly bandOf?: string;
  /** `auto` goes logarithmic when the values pass two decades. */
  readonly scale?: 'linear' | 'auto';
}

/** A line with its place: its colour (1 to 8), or 0 for one of the crowd. */
export interface Ranked {
  readonly line: Line;
  readonly colour: number;
}
