/** What the incident strip draws. In: anomalies, alerts and a span. Out: bars (odd series in each slot) and alert bars, in pixels. */
import type { Alert, Anomaly } from '../api';
import { seriesKey } from '../frame';
import type { Span } from '../time';

export interface StripAlert {
  readonly id: string;
  readonly x: number;
  readonly width: number;
  readonly severity: Alert['severity'];
  readonly label: string;
}

/** How many different series were odd in each slot. */
export function oddCounts(anomalies: readonly Anomaly[], span: Span, slots: number): number[] {
  const size = (span.to - span.from) / slots;
  const sets = Array.from({ length: slots }, () => new Set<string>());
  for (const a of anomalies) {
    const first = Math.max(0, Math.floor((a.from - span.from) / size));
    const last = Math.min(slots - 1, Math.floor((Math.max(a.to - 1, a.from) - span.from) / size));
    for (let i = first; i <= last; i++) sets[i].add(seriesKey(a.metric, a.labels));
  }
  return sets.map((s) => s.size);
}

export function oddSeries(anomalies: readonly Anomaly[], span: Span): number {
  return new Set(anomalies.filter((a) => a.to >= span.from && a.from <= span.to).map((a) => seriesKey(a.metric, a.labels))).size;
}

const WORDS = { critical: 'Critical', warning: 'Warning', info: 'Odd' } as const;

export function alertBars(alerts: readonly Alert[], span: Span, width: number): StripAlert[] {
  const x = (t: number): number => ((t - span.from) / (span.to - span.from)) * width;
  return alerts.flatMap((a) => {
    const x0 = Math.max(0, x(Date.parse(a.starts_at)));
    const x1 = Math.min(width, a.ends_at === null ? width : x(Date.parse(a.ends_at)));
    if (x1 < 0 || x0 > width || x1 < x0) return [];
    return [{ id: a.alert_id, x: x0, width: Math.max(3, x1 - x0), severity: a.severity, label: x1 - x0 > 62 ? WORDS[a.severity] : '' }];
  });
}
