/** A call is sent and told: its head, its body, a stream piece by piece, and no more text than a page holds. */
import { describe, expect, it } from 'vitest';
import type { Call } from '../openapi';
import { type Answered, SHOWN, send } from './docs';

const CALL: Call = { id: 'x', method: 'GET', path: '/x', tag: '', summary: '', description: '', fields: [], takesBody: false, streams: false, answers: [] };

async function told(pieces: string[], type: string, call = CALL, body = ''): Promise<{ heard: Answered[]; init: RequestInit | undefined }> {
  let init: RequestInit | undefined;
  const stream = new ReadableStream<Uint8Array>({
    start(c) {
      for (const piece of pieces) c.enqueue(new TextEncoder().encode(piece));
      c.close();
    },
  });
  let now = 0;
  const heard: Answered[] = [];
  const fetcher = ((_: string, i?: RequestInit) => {
    init = i;
    return Promise.resolve(new Response(stream, { status: 200, headers: { 'content-type': type, 'x-a': 'b' } }));
  }) as typeof fetch;
  await send(call, '/x', body, new AbortController().signal, (a) => heard.push(a), fetcher, () => (now += 5));
  return { heard, init };
}

describe('a call', () => {
  it('is told when its head is there and when all is', async () => {
    const { heard } = await told(['{"a":', '1}'], 'application/json; charset=utf-8');
    expect(heard.map((a) => [a.first, a.whole])).toEqual([[5, null], [5, 10]]);
    expect([heard[1].text, heard[1].bytes, heard[1].type, heard[1].cut]).toEqual(['{\n  "a": 1\n}', 7, 'application/json', 0]);
    expect(heard[0].headers).toContainEqual(['x-a', 'b']);
  });
  it('of a stream is told with each piece, the newest of it', async () => {
    const { heard } = await told(['a'.repeat(SHOWN), 'b'], 'text/event-stream');
    expect(heard).toHaveLength(4);
    expect([heard.at(-1)?.text.length, heard.at(-1)?.text.at(-1), heard.at(-1)?.cut]).toEqual([SHOWN, 'b', 1]);
  });
  it('of many bytes is shown in part, and of no text not at all', async () => {
    const { heard } = await told(['1'.repeat(SHOWN), '2'], 'application/json');
    expect([heard[1].text.length, heard[1].cut]).toEqual([SHOWN, 1]);
    const binary = await told(['\u0001\u0002'], 'application/msgpack');
    expect([binary.heard[1].text, binary.heard[1].bytes, binary.heard[1].cut]).toEqual(['', 2, 2]);
  });
  it('sends a body only where one is taken', async () => {
    expect((await told([], '', { ...CALL, method: 'PATCH', takesBody: true }, '{}')).init?.body).toBe('{}');
    expect((await told([], '', CALL, '{}')).init?.body).toBeUndefined();
  });
});
