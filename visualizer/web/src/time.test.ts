/** Ranges as they are written, the zoom ladder, and the way back out of a zoom. */
import { describe, expect, it } from 'vitest';
import { absolute, HOUR, isLive, ladder, last, parseTime, rangeLabel, resolve, shift } from './time';
import { depthOf, type HistoryLike, rangeOf, withRange, ZoomHistory } from './zoom';

const NOW = Date.UTC(2026, 10, 23, 14, 30, 0);

describe('parseTime', () => {
  it.each([
    ['now', NOW], ['now-90s', NOW - 90e3], ['now-6h', NOW - 6 * HOUR], ['2026-11-23T14:00:00Z', NOW - HOUR / 2], ['2026-11-23 14:00', NOW - HOUR / 2],
    [String(NOW), NOW], ['2026-11-23T15:30:00+01:00', NOW], ['2026-11-23', Date.UTC(2026, 10, 23)],
  ])('reads %s', (text, ms) => expect(parseTime(text, NOW)).toBe(ms));
  it.each(['', 'yesterday', 'now-', 'now+1h', 'now-6y', '14:00', '2026-13-45'])('refuses %s', (text) => expect(parseTime(text, NOW)).toBeNull());
});

describe('ranges', () => {
  it('need an end after their start', () => {
    expect(resolve({ from: 'now', to: 'now-1h' }, NOW)).toBeNull();
    expect(resolve(last(HOUR), NOW)).toEqual({ from: NOW - HOUR, to: NOW });
  });
  it('are live when they end now', () => {
    expect(isLive(last(HOUR))).toBe(true);
    expect(isLive(absolute({ from: NOW - HOUR, to: NOW }))).toBe(false);
  });
  it('have a name', () => {
    expect(rangeLabel(last(2 * HOUR), NOW)).toBe('Last 2\u202fh');
    expect(rangeLabel(absolute({ from: NOW - HOUR, to: NOW }), NOW)).toBe('Mon 23 Nov, 13:30 to 14:30');
  });
  it('walk the ladder out and in again', () => {
    expect(ladder(last(HOUR), 1, NOW)).toEqual(last(2 * HOUR));
    expect(ladder(last(2 * HOUR), -1, NOW)).toEqual(last(HOUR));
    expect(ladder({ from: 'now-60s', to: 'now' }, -1, NOW)).toBeNull();
    const out = resolve(ladder(absolute({ from: NOW - HOUR, to: NOW }), 1, NOW) ?? last(1), NOW);
    expect(out?.to).toBeLessThanOrEqual(NOW);
    expect((out?.to ?? 0) - (out?.from ?? 0)).toBe(2 * HOUR);
  });
  it('shift by half, and become live again at the end', () => {
    expect(shift(last(HOUR), 1, NOW)).toBeNull();
    const back = shift(last(HOUR), -1, NOW);
    expect(back).toEqual(absolute({ from: NOW - 1.5 * HOUR, to: NOW - HOUR / 2 }));
    expect(back && shift(back, 1, NOW)).toEqual(last(HOUR));
  });
});

/** A browser's history: entries and a place among them. */
class Fake implements HistoryLike {
  entries: { state: unknown; url: string }[] = [{ state: null, url: '/servers/db-02' }];
  at = 0;
  get state(): unknown {
    return this.entries[this.at].state;
  }
  get url(): string {
    return this.entries[this.at].url;
  }
  pushState(state: unknown, _: string, url: string): void {
    this.entries = [...this.entries.slice(0, this.at + 1), { state, url }];
    this.at += 1;
  }
  replaceState(state: unknown, _: string, url: string): void {
    this.entries[this.at] = { state, url };
  }
  back(): void {
    this.at = Math.max(0, this.at - 1);
  }
}

describe('zoom history', () => {
  it('undoes each zoom once and then stops', () => {
    const h = new Fake();
    const z = new ZoomHistory(h);
    z.push('/a?1');
    z.push('/a?2');
    expect([z.back(), h.url]).toEqual([true, '/a?1']);
    expect([z.back(), h.url]).toEqual([true, '/servers/db-02']);
    expect(z.back()).toBe(false);
  });
  it('does not walk out of a page by undoing zooms', () => {
    const h = new Fake();
    const z = new ZoomHistory(h);
    z.push('/a?zoomed');
    z.go('/alerts');
    expect(z.back()).toBe(false);
    expect(h.url).toBe('/alerts');
  });
  it('keeps its depth when only a filter changes, and over a reload', () => {
    const h = new Fake();
    new ZoomHistory(h).push('/a?zoomed');
    new ZoomHistory(h).go('/a?zoomed&q=web', true);
    expect(new ZoomHistory(h).depth).toBe(1);
    expect(depthOf({ depth: 'x' })).toBe(0);
  });
  it('writes a range into the address and reads it back', () => {
    const range = absolute({ from: NOW - HOUR, to: NOW });
    const url = withRange('/servers/db-02', '?q=1', range);
    expect(url).toBe('/servers/db-02?q=1&from=2026-11-23T13:30:00Z&to=2026-11-23T14:30:00Z');
    expect(rangeOf(url.slice(url.indexOf('?')))).toEqual(range);
    expect(rangeOf('?q=1')).toBeNull();
  });
});
