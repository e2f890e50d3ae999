/** The live tail: it comes back by itself, asks for what was missed, and rests while nobody looks. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Live, type LiveState, SILENCE_MS, type Source } from './live';

class FakeSource implements Source {
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  private readonly listeners = new Map<string, (e: { data: string; lastEventId: string }) => void>();
  constructor(readonly url: string) {}
  addEventListener(type: string, f: (e: { data: string; lastEventId: string }) => void): void {
    this.listeners.set(type, f);
  }
  say(type: string, data: string, lastEventId = ''): void {
    this.listeners.get(type)?.({ data, lastEventId });
  }
  close(): void {
    this.closed = true;
  }
}

class FakePage {
  visibilityState: DocumentVisibilityState = 'visible';
  private f: (() => void) | null = null;
  addEventListener(_: string, f: unknown): void {
    this.f = f as () => void;
  }
  removeEventListener(): void {
    this.f = null;
  }
  turn(state: DocumentVisibilityState): void {
    this.visibilityState = state;
    this.f?.();
  }
}

let sources: FakeSource[];
let page: FakePage;
let gaps: number;
let states: LiveState[];
let heard: unknown[];

function start(): Live {
  return new Live({
    url: '/live', events: ['window'], page: page as unknown as Document, random: () => 0.5,
    open: (url) => {
      sources.push(new FakeSource(url));
      return sources[sources.length - 1];
    },
    onEvent: (_, data) => heard.push(data),
    onGap: () => (gaps += 1),
    onState: (s) => states.push(s),
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  sources = [];
  states = [];
  heard = [];
  gaps = 0;
  page = new FakePage();
});
afterEach(() => vi.useRealTimers());

describe('live', () => {
  it('hands events on and survives a torn one', () => {
    start();
    sources[0].onopen?.();
    sources[0].say('window', '{"from": 1}');
    sources[0].say('window', '{"from"');
    sources[0].say('window', '{"from": 2}');
    expect(heard).toEqual([{ from: 1 }, { from: 2 }]);
    expect(gaps).toBe(0);
  });
  it('opens again after an error, later each time, and asks for what was missed once it is open', () => {
    start();
    sources[0].onopen?.();
    sources[0].onerror?.();
    expect([sources[0].closed, states.at(-1)]).toEqual([true, 'lost']);
    vi.advanceTimersByTime(500);
    expect(sources).toHaveLength(2);
    sources[1].onerror?.();
    vi.advanceTimersByTime(999);
    expect(sources).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(sources).toHaveLength(3);
    expect(gaps).toBe(0);
    sources[2].onopen?.();
    expect([gaps, states.at(-1)]).toEqual([1, 'open']);
  });
  it('takes silence for a dead connection', () => {
    start();
    sources[0].onopen?.();
    vi.advanceTimersByTime(SILENCE_MS - 1);
    sources[0].say('window', '{}');
    vi.advanceTimersByTime(SILENCE_MS - 1);
    expect(sources).toHaveLength(1);
    vi.advanceTimersByTime(1 + 500);
    expect(sources).toHaveLength(2);
  });
  it('rests in a hidden tab and fills the hole when it is looked at again', () => {
    start();
    sources[0].onopen?.();
    page.turn('hidden');
    expect([sources[0].closed, states.at(-1)]).toEqual([true, 'paused']);
    vi.advanceTimersByTime(120_000);
    expect(sources).toHaveLength(1);
    page.turn('visible');
    sources[1].onopen?.();
    expect(gaps).toBe(1);
  });
  it('comes back with its last id, and asks for nothing that the service tells by itself', () => {
    start();
    sources[0].onopen?.();
    sources[0].say('window', '{"from": 1}', '1f.3~2');
    sources[0].onerror?.();
    vi.advanceTimersByTime(500);
    expect(sources[1].url).toBe('/live?last_event_id=1f.3~2');
    sources[1].onopen?.();
    sources[1].say('window', '{"from": 2}', '20.3~2');
    expect([gaps, heard]).toEqual([0, [{ from: 1 }, { from: 2 }]]);
    sources[1].onerror?.();
    vi.advanceTimersByTime(500);
    expect(sources[2].url).toBe('/live?last_event_id=20.3~2');
    sources[2].onopen?.();
    sources[2].say('resync', '{"now": 7}', '99.3~2');
    expect(gaps).toBe(1);
  });
  it('stays closed once closed', () => {
    const live = start();
    sources[0].onerror?.();
    live.close();
    live.now();
    page.turn('visible');
    vi.advanceTimersByTime(60_000);
    expect(sources).toHaveLength(1);
  });
});
