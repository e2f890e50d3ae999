/**
 * Sends a call and tells how it goes. In: a call and its address. Out: status, headers, times and body, again with every
 * piece of a stream.
 * Keeps: of a body no more than `SHOWN` is held as text; of a stream its newest part.
 */
import { type Call, pretty } from '../openapi';

export const SHOWN = 256 * 1024;

export interface Answered {
  readonly status: number;
  readonly said: string;
  readonly type: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Milliseconds to the answer's head, and to its end; null while it goes on. */
  readonly first: number;
  readonly whole: number | null;
  readonly bytes: number;
  readonly text: string;
  /** Bytes that are not in `text`. */
  readonly cut: number;
}

const READABLE = /^text\/|json|xml|^$/;

export async function send(
  call: Call, url: string, body: string, signal: AbortSignal, tell: (a: Answered) => void,
  fetcher: typeof fetch = (...args) => fetch(...args), clock = (): number => performance.now(),
): Promise<void> {
  const began = clock();
  const json = call.takesBody && body.trim() !== '';
  const res = await fetcher(url, {
    method: call.method, signal, credentials: 'same-origin', cache: 'no-store',
    ...(json ? { body, headers: { 'content-type': 'application/json' } } : {}),
  });
  const type = (res.headers.get('content-type') ?? '').split(';')[0];
  const head = { status: res.status, said: res.statusText, type, headers: [...res.headers.entries()].sort(), first: clock() - began };
  const streams = type === 'text/event-stream';
  const readable = READABLE.test(type);
  const decoder = new TextDecoder();
  let [bytes, text, cut] = [0, '', 0];
  const told = (whole: number | null): void => tell({ ...head, whole, bytes, text: whole === null || streams ? text : shown(text, type, cut), cut });
  told(null);
  const reader = res.body?.getReader();
  try {
    for (;;) {
      const piece = await reader?.read();
      if (!piece || piece.done) break;
      bytes += piece.value.length;
      if (!readable) cut += piece.value.length;
      else if (streams) {
        text += decoder.decode(piece.value, { stream: true });
        if (text.length > SHOWN) {
          cut += text.length - SHOWN;
          text = text.slice(-SHOWN);
        }
        told(null);
      } else if (text.length < SHOWN) text += decoder.decode(piece.value, { stream: true });
      else cut += piece.value.length;
    }
  } catch (e) {
    // stopped by the reader: what came stays
    if (!signal.aborted) throw e;
  }
  told(clock() - began);
}

/** Half a document is no JSON: it is shown as it came. */
function shown(text: string, type: string, cut: number): string {
  return cut > 0 ? text : pretty(text, type);
}
