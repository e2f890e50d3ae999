/** What is wrong with a key, said so that it can be put right. In: a typed key, or a refusal. Out: a title and a sentence, or null. */
import type { ApiError } from '../api';

export interface Trouble {
  readonly title: string;
  readonly text: string;
}

const LENGTH = 43;

export function keyTrouble(key: string): Trouble | null {
  if (key === '') return { title: 'There is no key yet.', text: 'Paste it into the field.' };
  const m = /^tw_([a-z])_(.*)$/.exec(key);
  if (!m) return { title: 'This is no Tidewatch key.', text: 'Keys begin with tw_a_, tw_w_ or tw_v_.' };
  const n = m[2].length;
  if (n < LENGTH) return { title: 'This key is too short.', text: `Keys have ${LENGTH} characters after tw_${m[1]}_; this one has ${n}. The end may have been left out when it was copied.` };
  if (n > LENGTH) return { title: 'This key is too long.', text: `Keys have ${LENGTH} characters after tw_${m[1]}_; this one has ${n}. Something may have been copied with it.` };
  return null;
}

export function refusal(e: ApiError): Trouble {
  if (e.kind === 'signed-out') return { title: 'This key is not known here.', text: 'It may belong to another installation, or it has been withdrawn.' };
  if (e.kind === 'too-many') return { title: 'Too many tries.', text: `Wait ${e.retryAfter ?? 10} s, then try again.` };
  if (e.kind === 'offline') return { title: 'Tidewatch does not answer.', text: 'The network may be down, or the service is starting.' };
  const id = e.requestId ? ` Request ${e.requestId}.` : '';
  return { title: 'It did not work.', text: `${e.message}.${id}` };
}
