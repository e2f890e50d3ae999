/** From the document to a form, an address and a command. */
import { describe, expect, it } from 'vitest';
import { address, calls, curl, groups, missing, type OpenApi, pretty } from './openapi';

const DOCUMENT = {
  components: { responses: { NoKey: { description: 'No key' } } },
  paths: {
    '/api/v1/metrics/{server}': {
      get: {
        operationId: 'metrics', tags: ['Values'], summary: 'Single values',
        parameters: [
          { name: 'server', in: 'path', required: true, example: 'web-1', schema: { type: 'string' } },
          { name: 'metric', in: 'query', schema: { type: 'array' } },
          { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 10000 } },
          { name: 'format', in: 'query', schema: { type: 'string', enum: ['json', 'csv'] } },
        ],
        responses: { '200': { description: 'Rows', content: { 'application/json': {} } }, '401': { $ref: '#/components/responses/NoKey' } },
      },
    },
    '/api/v1/live': { get: { operationId: 'live', tags: ['Live'], responses: { '200': { content: { 'text/event-stream': {} } } } } },
    '/api/v1/x': { patch: { operationId: 'x', tags: ['Values'], requestBody: {}, responses: {} } },
  },
} as unknown as OpenApi;
const [metrics, live, patch] = calls(DOCUMENT);

describe('the interface', () => {
  it('becomes calls with fields of the right kind', () => {
    expect(metrics.fields.map((f) => [f.name, f.kind, f.hint])).toEqual([['server', 'text', 'e.g. web-1'], ['metric', 'lines', ''], ['limit', 'whole', '1 to 10000'], ['format', 'choice', '']]);
    expect(metrics.answers.map((a) => a.text)).toEqual(['Rows', 'No key']);
    expect([metrics.streams, live.streams, patch.takesBody]).toEqual([false, true, true]);
    expect(groups([metrics, live, patch]).map((g) => [g.tag, g.calls.length])).toEqual([['Values', 2], ['Live', 1]]);
  });
  it('says what is missing before it is sent', () => {
    expect(missing(metrics, {})).toEqual(['server']);
    expect(missing(metrics, { server: ' web-1 ' })).toEqual([]);
  });
  it('becomes an address with everything encoded', () => {
    const values = { server: 'a/b', metric: 'one\n\n two ', limit: '', format: 'csv' };
    expect(address(metrics, values)).toBe('/api/v1/metrics/a%2Fb?metric=one&metric=two&format=csv');
    expect(address(metrics, {})).toBe('/api/v1/metrics/{server}');
  });
  it('becomes a command that a shell takes as it is meant', () => {
    expect(curl(metrics, { server: "o'x" }, 'http://h')).toBe(`curl -H "Authorization: Bearer $TIDEWATCH_KEY" 'http://h/api/v1/metrics/o'\\''x'`);
    expect(curl(live, {}, 'http://h')).toContain('curl -N ');
    expect(curl(patch, {}, 'http://h', `{"a": "it's"}`)).toContain(`-X PATCH -H "Authorization: Bearer $TIDEWATCH_KEY" -H 'Content-Type: application/json' -d '{"a": "it'\\''s"}'`);
  });
  it('shows JSON in lines and anything else as it is', () => {
    expect(pretty('{"a":1}', 'application/problem+json')).toBe('{\n  "a": 1\n}');
    expect([pretty('{', 'application/json'), pretty('a,b', 'text/csv')]).toEqual(['{', 'a,b']);
  });
});
