/**
 * The HTTP interface as it describes itself, made ready to be tried.
 * In: the OpenAPI document, and what was typed into a call's fields. Out: calls with fields, addresses, commands. Pure.
 * Keeps: what is shown of a call comes from the document alone, so a new path is a new form without any work here.
 */
export interface OpenApi {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components?: { readonly responses?: Record<string, Response> };
}

interface Response {
  readonly $ref?: string;
  readonly description?: string;
  readonly content?: Record<string, unknown>;
}

interface Operation {
  readonly operationId: string;
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: unknown;
  readonly responses: Record<string, Response>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly example?: unknown;
  readonly schema?: Schema;
}

interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly anyOf?: readonly Schema[];
}

export interface Field {
  readonly name: string;
  readonly place: string;
  readonly required: boolean;
  readonly text: string;
  /** `lines`: may be given several times, one a line. */
  readonly kind: 'text' | 'whole' | 'choice' | 'lines';
  readonly choices: readonly string[];
  readonly hint: string;
}

export interface Call {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description: string;
  readonly fields: readonly Field[];
  readonly takesBody: boolean;
  readonly streams: boolean;
  readonly answers: readonly { status: string; text: string }[];
}

export type Values = Readonly<Record<string, string>>;

export function calls(document: OpenApi): Call[] {
  const out: Call[] = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, o] of Object.entries(item)) {
      out.push({
        id: o.operationId, method: method.toUpperCase(), path,
        tag: o.tags?.[0] ?? 'Other',
        summary: o.summary ?? path,
        description: o.description ?? '',
        fields: (o.parameters ?? []).filter((p) => p.in === 'path' || p.in === 'query').map(field),
        takesBody: o.requestBody !== undefined,
        streams: 'text/event-stream' in (o.responses['200']?.content ?? {}),
        answers: Object.entries(o.responses).map(([status, r]) => ({ status, text: described(document, r) })),
      });
    }
  }
  return out;
}

function described(document: OpenApi, r: Response): string {
  const name = r.$ref?.split('/').at(-1);
  return (name ? document.components?.responses?.[name]?.description : r.description) ?? '';
}

function field(p: Parameter): Field {
  const s = p.schema ?? {};
  const kind = s.enum ? 'choice' : s.type === 'array' ? 'lines' : s.type === 'integer' ? 'whole' : 'text';
  return { name: p.name, place: p.in, required: p.required === true, text: p.description ?? '', kind, choices: s.enum ?? [], hint: hint(p, s) };
}

function hint(p: Parameter, s: Schema): string {
  const example = Array.isArray(p.example) ? (p.example as unknown[])[0] : p.example;
  if (typeof example === 'string') return `e.g. ${example}`;
  if (s.minimum !== undefined && s.maximum !== undefined) return `${s.minimum} to ${s.maximum}${s.multipleOf ? `, in steps of ${s.multipleOf}` : ''}`;
  return s.anyOf ? 'now-6h, 2026-11-23T14:16:00Z, milliseconds' : '';
}

/** The fields that a call cannot do without and that are empty. */
export const missing = (call: Call, values: Values): string[] => call.fields.filter((f) => f.required && !values[f.name]?.trim()).map((f) => f.name);

export function address(call: Call, values: Values): string {
  let path = call.path;
  const query = new URLSearchParams();
  for (const f of call.fields) {
    const value = values[f.name] ?? '';
    if (f.place === 'path') path = path.replace(`{${f.name}}`, value.trim() ? encodeURIComponent(value.trim()) : `{${f.name}}`);
    else if (f.kind === 'lines') for (const line of value.split('\n').filter((l) => l.trim())) query.append(f.name, line.trim());
    else if (value.trim()) query.append(f.name, value.trim());
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** The same call for a shell; the key is the reader's own to put in. */
export function curl(call: Call, values: Values, origin: string, body = ''): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ['curl', ...(call.streams ? ['-N'] : []), ...(call.method === 'GET' ? [] : ['-X', call.method]), '-H', '"Authorization: Bearer $TIDEWATCH_KEY"'];
  if (call.takesBody && body.trim()) parts.push('-H', quoted('Content-Type: application/json'), '-d', quoted(body.trim()));
  return [...parts, quoted(origin + address(call, values))].join(' ');
}

/** Calls by their tags, in the document's order. */
export function groups(all: readonly Call[]): { tag: string; calls: Call[] }[] {
  const out: { tag: string; calls: Call[] }[] = [];
  for (const call of all) {
    const group = out.find((g) => g.tag === call.tag);
    if (group) group.calls.push(call);
    else out.push({ tag: call.tag, calls: [call] });
  }
  return out;
}

/** An answer's text as people read it; what is no JSON stays as it is. */
export function pretty(text: string, type: string): string {
  if (!/json/.test(type)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
