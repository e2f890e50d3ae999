/**
 * The typed client of the HTTP interface (`docs/api.md`).
 * In: calls. Out: answers, or one `ApiError` whose `kind` says what the caller does about it.
 * Keeps: every failure has a kind, a sentence for people and, where the service answered, its request id.
 */
import type { OpenApi } from './openapi';

export type Status = 'critical' | 'warning' | 'odd' | 'silent' | 'learning' | 'ok';
export type Beat = Status | 'none';
export type Column = (number | null)[];

export interface Session {
  name: string;
  role: 'viewer' | 'writer' | 'admin';
}

export interface Server {
  id: number;
  name: string;
  ip_address: string | null;
  status: Status;
  last_seen: string;
  first_seen: string;
  labels: Record<string, string>;
  open_alerts: number;
}

export interface FleetServer {
  id: number;
  name: string;
  status: Status;
  last_seen: number;
  labels: Record<string, string>;
  why: string | null;
  open_alerts: number;
  since: number | null;
  heartbeat: Beat[];
  cpu: Trend;
  memory: Trend;
  network: Trend;
  disk: { mountpoint: string; last: number } | null;
}

export interface Trend {
  last: number | null;
  avg: Column;
}

export interface Fleet {
  as_of: number;
  from: number;
  to: number;
  step: number;
  odd_series: number;
  series: number;
  servers: FleetServer[];
}

export interface QuerySeries {
  series_id: number;
  metric: string;
  labels: Record<string, string>;
  kind: 'gauge' | 'counter';
  unit: string;
  t0: number;
  avg: Column;
  min: Column;
  max: Column;
  expected: { low: Column; high: Column } | null;
}

export interface Anomaly {
  series_id: number;
  metric: string;
  labels: Record<string, string>;
  from: number;
  to: number;
  score: number;
  value: number;
  low: number | null;
  high: number | null;
}

export interface Query {
  server: { id: number; name: string };
  from: number;
  to: number;
  step: number;
  tier: string;
  as_of: number;
  series: QuerySeries[];
  anomalies: Anomaly[];
}

export interface Alert {
  alert_id: string;
  fingerprint: string;
  incident_id: string;
  server: string;
  server_id: number;
  status: 'firing' | 'resolved';
  severity: 'critical' | 'warning' | 'info';
  rule: string;
  starts_at: string;
  ends_at: string | null;
  title: string;
  explanation: string;
  metric_name: string | null;
  labels: Record<string, string>;
  value: number | null;
  expected_low: number | null;
  expected_high: number | null;
  score: number | null;
  related: { metric: string; labels: Record<string, string> }[];
  runbook_url?: string | null;
  updated_at: string;
}

export type ErrorKind = 'signed-out' | 'forbidden' | 'not-found' | 'too-many' | 'unavailable' | 'refused' | 'offline';

export class ApiError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly status = 0,
    readonly code = '',
    readonly requestId = '',
    /** Seconds the service asked us to wait; null when it did not say. */
    readonly retryAfter: number | null = null,
    /** The service's own policy, e.g. "200 times in 10 s", when it sent one. */
    readonly policy: string | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** An answer, with what its headers say about its age. */
export interface Answer<T> {
  readonly body: T;
  /** Seconds old, when the service answers from what it knew before its store went away. */
  readonly staleSeconds: number | null;
}

type Fetch = typeof fetch;
export type Params = Record<string, string | number | readonly string[] | undefined>;

export class Api {
  constructor(private readonly send: Fetch = (...args) => fetch(...args)) {}

  async session(): Promise<Session> {
    return (await this.get<Session>('/api/v1/session')).body;
  }

  async signIn(key: string): Promise<Session> {
    return (await this.call<Session>('/api/v1/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ key }) })).body;
  }

  async signOut(): Promise<void> {
    await this.call<null>('/api/v1/session', { method: 'DELETE' });
  }

  fleet(params: Params, signal?: AbortSignal): Promise<Answer<Fleet>> {
    return this.get('/api/v1/fleet', params, signal);
  }

  server(name: string, signal?: AbortSignal): Promise<Answer<Server>> {
    return this.get(`/api/v1/servers/${encodeURIComponent(name)}`, {}, signal);
  }

  query(params: Params, signal?: AbortSignal): Promise<Answer<Query>> {
    return this.get('/api/v1/query', params, signal);
  }

  alerts(params: Params, signal?: AbortSignal): Promise<Answer<Alert[]>> {
    return this.get('/api/v1/alerts', params, signal);
  }

  description(signal?: AbortSignal): Promise<Answer<OpenApi>> {
    return this.get('/api/v1/openapi.json', {}, signal);
  }

  private get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Answer<T>> {
    const q = new URLSearchParams();
    for (const [k, v] of Object.entries(params)) {
      if (v === undefined) continue;
      for (const one of Array.isArray(v) ? v : [v]) q.append(k, String(one));
    }
    const text = q.toString();
    return this.call<T>(text ? `${path}?${text}` : path, signal ? { signal } : {});
  }

  private async call<T>(url: string, init: RequestInit): Promise<Answer<T>> {
    let res: Response;
    try {
      res = await this.send(url, { ...init, headers: { accept: 'application/json', ...init.headers }, credentials: 'same-origin' });
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') throw e;
      throw new ApiError('offline', 'Tidewatch does not answer');
    }
    if (!res.ok) throw await problem(res);
    const stale = res.headers.get('x-tidewatch-stale') === 'true' ? Number(res.headers.get('age') ?? 0) : null;
    try {
      return { body: res.status === 204 ? (null as T) : ((await res.json()) as T), staleSeconds: stale };
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') throw e;
      throw new ApiError('unavailable', 'The answer could not be read', res.status, 'bad_answer', res.headers.get('x-request-id') ?? '');
    }
  }
}

const KIND: Record<number, ErrorKind> = { 401: 'signed-out', 403: 'forbidden', 404: 'not-found', 429: 'too-many' };

async function problem(res: Response): Promise<ApiError> {
  let body: { title?: string; detail?: string; code?: string; request_id?: string } = {};
  try {
    body = (await res.json()) as typeof body;
  } catch {
    // a proxy's own error page: the status alone has to do
  }
  const kind = KIND[res.status] ?? (res.status >= 500 ? 'unavailable' : 'refused');
  const message = body.detail ?? body.title ?? `The service answered ${res.status}`;
  const id = body.request_id ?? res.headers.get('x-request-id') ?? '';
  return new ApiError(kind, message, res.status, body.code ?? '', id, retryAfter(res.headers), policyText(res.headers));
}

/** Seconds to wait: `Retry-After` in seconds or as a date, else the window's rest from `RateLimit`. */
export function retryAfter(headers: Headers, now = Date.now()): number | null {
  const text = headers.get('retry-after');
  if (text !== null) {
    if (/^\d+$/.test(text.trim())) return Number(text);
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return Math.max(0, Math.ceil((at - now) / 1000));
  }
  const rest = /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '');
  return rest ? Number(rest[1]) : null;
}

function policyText(headers: Headers): string | null {
  const m = /;\s*q=(\d+).*;\s*w=(\d+)/.exec(headers.get('ratelimit-policy') ?? '');
  return m ? `${m[1]} times in ${m[2]}\u202fs` : null;
}
