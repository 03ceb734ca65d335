/** Prompts with a shared beginning, asked of a cluster, and what came back: who served it, what it had cached. */
import type { Cluster } from '../harness/cluster.ts';

export interface Served {
  readonly requestId: string;
  /** Node and replica. */
  readonly replica: string;
  readonly trust: string;
  readonly predictedTokens: number;
  readonly cachedTokens: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** From the request to the first byte of the answer's body. */
  readonly firstByteMs: number;
  readonly text: string;
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  } | null;
}

/** `name=value` pairs of a receipt's header. */
const pairsOf = (header: string | null): ReadonlyMap<string, string> =>
  new Map((header ?? '').split('; ').map((pair) => pair.split('=') as [string, string]));

/** Text of so many words, the same for the same seed and different from the first word for another. */
export const words = (seed: number, count: number): string => {
  let state = seed;
  const word = (): string => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8).toString(36);
  };
  return Array.from({ length: count }, word).join(' ');
};

export interface Ask {
  readonly system: string;
  readonly user: string;
  readonly maxTokens?: number;
  /** More fields of the request. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export const ask = (cluster: Cluster, { system, user, maxTokens = 4, more = {} }: Ask): Promise<Served> => {
  const messages: readonly Message[] = [
    { role: 'system', content: system },
    { role: 'user', content: user },
  ];
  return chat(cluster, messages, maxTokens, more);
};

/** One streamed chat, read to its end. Throws with the answer when it is no stream. */
export const chat = async (
  cluster: Cluster,
  messages: readonly Message[],
  maxTokens: number,
  more: Ask['more'] = {},
): Promise<Served> => {
  const startedMs = performance.now();
  const answer = await fetch(`${cluster.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cluster.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'tiny',
      messages,
      ...more,
      ...{ max_tokens: maxTokens, temperature: 0, stream: true, stream_options: { include_usage: true } },
    }),
  });
  if (answer.body === null || answer.status !== 200) {
    throw new Error(`${answer.status}: ${await answer.text()}`);
  }
  let firstByteMs = 0;
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of answer.body) {
    if (firstByteMs === 0) firstByteMs = performance.now() - startedMs;
    text += decoder.decode(bytes as Uint8Array, { stream: true });
  }
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  const chunks = events.map((event) => JSON.parse(event.slice(6)) as Chunk);
  const usage = chunks.map((chunk) => chunk.usage).findLast((seen) => seen !== undefined && seen !== null);
  const cache = pairsOf(answer.headers.get('x-cognitora-cache'));
  const route = pairsOf(answer.headers.get('x-cognitora-route'));
  return {
    requestId: answer.headers.get('x-request-id') ?? '',
    replica: `${answer.headers.get('x-cognitora-node')}/${route.get('replica')}`,
    trust: cache.get('trust') ?? '',
    predictedTokens: Number(cache.get('predicted')),
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    promptTokens: usage?.prompt_tokens ?? 0,
    completionTokens: usage?.completion_tokens ?? 0,
    firstByteMs,
    text: chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? '').join(''),
  };
};

/** How many of these went to each replica. */
export const sharesOf = (served: readonly Served[]): ReadonlyMap<string, number> => {
  const shares = new Map<string, number>();
  for (const { replica } of served) shares.set(replica, (shares.get(replica) ?? 0) + 1);
  return shares;
};

export const meanFirstByteMs = (served: readonly Served[]): number =>
  served.reduce((sum, { firstByteMs }) => sum + firstByteMs, 0) / Math.max(1, served.length);
