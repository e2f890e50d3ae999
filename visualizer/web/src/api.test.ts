/** The client: each failure has a kind, a sentence and a request id, whatever stood between us and the service. */
import { describe, expect, it } from 'vitest';
import { Api, type ApiError, retryAfter } from './api';

const answer = (status: number, body: unknown, headers: Record<string, string> = {}): Api =>
  new Api(() => Promise.resolve(new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers })));
const failure = async (api: Api): Promise<ApiError> => api.fleet({}).then(() => Promise.reject(new Error('it did not fail')), (e: ApiError) => e);

describe('problems', () => {
  it.each([
    [401, 'signed-out'], [403, 'forbidden'], [404, 'not-found'], [429, 'too-many'], [400, 'refused'], [503, 'unavailable'], [504, 'unavailable'],
  ])('%d is %s', async (status, kind) => {
    const e = await failure(answer(status, { title: 'T', detail: 'why', code: 'c', request_id: 'r1' }));
    expect([e.kind, e.message, e.code, e.requestId, e.status]).toEqual([kind, 'why', 'c', 'r1', status]);
  });
  it('takes the request id of the header and a plain sentence when the body is no problem', async () => {
    const e = await failure(answer(502, '<html>', { 'x-request-id': 'r2' }));
    expect([e.kind, e.message, e.requestId]).toEqual(['unavailable', 'The service answered 502', 'r2']);
  });
  it('knows how long to wait and what the policy is', async () => {
    const e = await failure(answer(429, {}, { 'retry-after': '12', 'ratelimit-policy': '"default";q=200;w=10' }));
    expect([e.retryAfter, e.policy]).toEqual([12, '200 times in 10\u202fs']);
  });
  it('calls a network that is away offline', async () => {
    const e = await failure(new Api(() => Promise.reject(new TypeError('fetch failed'))));
    expect(e.kind).toBe('offline');
  });
  it('leaves an ended call to the one who ended it', async () => {
    const api = new Api(() => Promise.reject(new DOMException('x', 'AbortError')));
    await expect(api.fleet({})).rejects.toBeInstanceOf(DOMException);
  });
  it('says so when an answer is cut off', async () => {
    expect((await failure(answer(200, '{"servers": ['))).code).toBe('bad_answer');
  });
});

describe('answers', () => {
  it('say how old they are', async () => {
    expect((await answer(200, {}, { 'x-tidewatch-stale': 'true', age: '42' }).fleet({})).staleSeconds).toBe(42);
    expect((await answer(200, {}).fleet({})).staleSeconds).toBeNull();
  });
  it('are asked for with every parameter, lists repeated', async () => {
    let asked = '';
    const api = new Api((url) => {
      asked = String(url);
      return Promise.resolve(new Response('{}'));
    });
    await api.query({ server: 'db 02', metric: ['a', 'b'], from: 'now-1h', to: undefined });
    expect(asked).toBe('/api/v1/query?server=db+02&metric=a&metric=b&from=now-1h');
  });
});

describe('retryAfter', () => {
  const now = Date.UTC(2026, 10, 23, 14, 0, 0);
  it.each([
    [{ 'retry-after': '7' }, 7], [{ 'retry-after': 'Mon, 23 Nov 2026 14:00:09 GMT' }, 9], [{ ratelimit: '"default";r=0;t=4' }, 4], [{}, null],
  ])('reads %j', (headers, seconds) => expect(retryAfter(new Headers(headers as Record<string, string>), now)).toBe(seconds));
});
