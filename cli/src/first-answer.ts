/**
 * Whether what the edge offers answers, asked as a client asks: the first of some models, and the first of its
 * surfaces that serves it. An engine that only completes text or only embeds is served all the same. Never waits
 * between tries.
 */
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';

/** A way to use a model: where, and what a person may paste first. */
export interface Surface {
  readonly path: string;
  readonly example: Readonly<Record<string, unknown>>;
  /** The cheapest request that shows that it works, over the example. */
  readonly probe: Readonly<Record<string, unknown>>;
}

const hello = 'Hello';
const chat: Surface = {
  path: '/v1/chat/completions',
  example: { messages: [{ role: 'user', content: hello }], stream: true },
  probe: { stream: false, max_tokens: 1 },
};
/** In the order in which they are tried. */
const surfaces: readonly Surface[] = [
  chat,
  {
    path: '/v1/completions',
    example: { prompt: hello, stream: true },
    probe: { stream: false, max_tokens: 1 },
  },
  { path: '/v1/embeddings', example: { input: hello }, probe: {} },
];

export type FirstAnswer =
  | { readonly kind: 'answers'; readonly model: string; readonly surface: Surface }
  /** Every surface refuses: `told` is what the first one said. */
  | { readonly kind: 'refuses'; readonly model: string; readonly told: string }
  | SilentAnswer;

/** Nobody there yet, or not able to answer now: `told` is what was said of that. */
export interface SilentAnswer {
  readonly kind: 'silent';
  readonly model?: string;
  readonly told?: string;
}

export interface Asked {
  readonly edgeUrl: string;
  readonly apiKey: string;
  /** Of what the edge offers only these are tried. */
  readonly models: readonly string[];
  readonly timeoutMs: number;
  /** Told of the model before it is tried. */
  readonly onModel: (model: string) => void;
}

export const firstAnswer = async (asked: Asked): Promise<FirstAnswer> => {
  const model = await firstModel(asked);
  if (model === undefined) return { kind: 'silent' };
  asked.onModel(model);
  let told: string | undefined;
  for (const surface of surfaces) {
    const { status, words } = await probe(asked, surface, model);
    if (status >= 200 && status < 300) return { kind: 'answers', model, surface };
    if (!isRefusal(status))
      return { kind: 'silent', model, ...(status > 0 && { told: `${status} ${words}` }) };
    told ??= `${status} ${words}`;
  }
  return { kind: 'refuses', model, told: told ?? '' };
};

/** Said of the request itself: the same would be refused again. With 501 some engines say "not this surface". */
const isRefusal = (status: number): boolean =>
  status === 501 || (status >= 400 && status < 500 && ![408, 425, 429].includes(status));

const headersOf = ({ apiKey }: Asked): Record<string, string> => ({
  authorization: `Bearer ${apiKey}`,
  'content-type': 'application/json',
});

const firstModel = async (asked: Asked): Promise<string | undefined> => {
  const signal = AbortSignal.timeout(asked.timeoutMs);
  const answer = await fetch(`${asked.edgeUrl}/v1/models`, { headers: headersOf(asked), signal }).catch(
    () => undefined,
  );
  if (answer?.status !== 200) return undefined;
  const list = jsonRecordIn(await answer.text());
  const offered: readonly unknown[] = Array.isArray(list?.data) ? list.data : [];
  const ids = offered.flatMap((each) => (isRecord(each) && typeof each.id === 'string' ? [each.id] : []));
  return ids.find((id) => asked.models.includes(id));
};

/** The status of the smallest request, 0 when nobody answered, and what the answer says when it is an error. */
const probe = async (
  asked: Asked,
  surface: Surface,
  model: string,
): Promise<{ readonly status: number; readonly words: string }> => {
  try {
    const answer = await fetch(asked.edgeUrl + surface.path, {
      method: 'POST',
      headers: headersOf(asked),
      body: JSON.stringify({ model, ...surface.example, ...surface.probe }),
      signal: AbortSignal.timeout(asked.timeoutMs),
    });
    const text = await answer.text();
    const error = jsonRecordIn(text)?.error;
    const words = isRecord(error) && typeof error.message === 'string' ? error.message : text;
    // Of a refusal that header says what kept replicas back: "replicas=1; cordoned=1".
    const route = answer.headers.get('x-cognitora-route');
    const why = route === null || answer.ok ? '' : ` (${route})`;
    return { status: answer.status, words: words.slice(0, 300) + why };
  } catch {
    return { status: 0, words: '' };
  }
};
