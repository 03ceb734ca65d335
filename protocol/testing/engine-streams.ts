/**
 * Byte streams as engines send them, with and without `include_usage`, in the shapes that their sources document: what
 * the undoing of edits is held against. Only tests import it.
 */

export interface Generation {
  /** The name that the engine serves under, as it writes it in each event. */
  readonly model: string;
  readonly texts: readonly string[];
  readonly usage: { readonly promptTokens: number; readonly cachedTokens: number };
}

export interface EngineShape {
  readonly name: string;
  /** What its streams carry unasked. */
  readonly volunteered: 'nothing' | 'null';
  readonly stream: (generation: Generation, includeUsage: boolean) => string;
}

/** With white space as Python's json.dumps writes it, or without. */
type Print = (value: unknown) => string;
const compact: Print = JSON.stringify;
const spaced: Print = (value) => {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}: ${spaced(member)}`)
    .join(', ')}}`;
};

const events = (print: Print, lineEnd: string, chunks: readonly object[]): string =>
  [...chunks.map(print), '[DONE]'].map((data) => `data: ${data}${lineEnd}${lineEnd}`).join('');

const usageOf = ({ texts, usage }: Generation): object => ({
  prompt_tokens: usage.promptTokens,
  total_tokens: usage.promptTokens + texts.length,
  completion_tokens: texts.length,
  prompt_tokens_details: { cached_tokens: usage.cachedTokens },
});

const deltasOf = (texts: readonly string[]): object[] => [
  { role: 'assistant', content: '' },
  ...texts.map((content) => ({ content })),
  {},
];

const finishOf = (at: number, of: number): string | null => (at === of - 1 ? 'stop' : null);

/** vLLM chat: pydantic without unset fields; older releases add `"usage":null` to each event once asked. */
const vllm =
  (nullWhenAsked: boolean, print: Print, lineEnd: string): EngineShape['stream'] =>
  (generation, includeUsage) => {
    const { model, texts } = generation;
    const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_790_000_000, model };
    const asNull = includeUsage && nullWhenAsked ? { usage: null } : {};
    const deltas = deltasOf(texts);
    const chunks: object[] = deltas.map((delta, at) => ({
      ...head,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishOf(at, deltas.length) }],
      ...asNull,
    }));
    if (includeUsage) chunks.push({ ...head, choices: [], usage: usageOf(generation) });
    return events(print, lineEnd, chunks);
  };

/**
 * vLLM 0.32, chat and completions alike: the events that end a choice carry the fingerprint of the process, unless
 * usage was asked for: then the usage event does. The second choice, if there is one, ends first.
 */
const vllmFingerprint =
  (count: 1 | 2, print: Print, lineEnd: string): EngineShape['stream'] =>
  (generation, includeUsage) => {
    const { model, texts } = generation;
    const head = { id: 'chatcmpl-3', object: 'chat.completion.chunk', created: 1_790_000_000, model };
    const fingerprint = { system_fingerprint: 'vllm-0.32.0-tp2-0a1b2c3d' };
    const say = (index: number, delta: object, finish: string | null): object => ({
      ...head,
      choices: [{ index, delta, logprobs: null, finish_reason: finish, stop_reason: null }],
      ...(finish === null || includeUsage ? {} : fingerprint),
    });
    const deltas = deltasOf(texts);
    const chunks: object[] = count === 2 ? [say(1, {}, 'stop')] : [];
    for (const [at, delta] of deltas.entries()) chunks.push(say(0, delta, finishOf(at, deltas.length)));
    if (includeUsage) chunks.push({ ...head, choices: [], usage: usageOf(generation), ...fingerprint });
    return events(print, lineEnd, chunks);
  };

/** vLLM completions: all fields always, so `"usage":null` unasked. */
const vllmCompletions: EngineShape['stream'] = (generation, includeUsage) => {
  const { model, texts } = generation;
  const head = { id: 'cmpl-1', object: 'text_completion', created: 1_790_000_000, model };
  const chunks: object[] = texts.map((text, at) => ({
    ...head,
    choices: [
      { index: 0, text, logprobs: null, finish_reason: finishOf(at, texts.length), stop_reason: null },
    ],
    usage: null,
  }));
  if (includeUsage) chunks.push({ ...head, choices: [], usage: usageOf(generation) });
  return events(compact, '\n', chunks);
};

/** SGLang: `"usage":null` in each event, asked or not; an event of its own for reasoning parts left out here. */
const sglang: EngineShape['stream'] = (generation, includeUsage) => {
  const { model, texts } = generation;
  const head = { id: 'a1b2', object: 'chat.completion.chunk', created: 1_790_000_000, model };
  const deltas = deltasOf(texts);
  const chunks: object[] = deltas.map((delta, at) => ({
    ...head,
    choices: [
      {
        index: 0,
        delta: { ...delta, reasoning_content: null, tool_calls: null },
        logprobs: null,
        finish_reason: finishOf(at, deltas.length),
        matched_stop: at === deltas.length - 1 ? 2 : null,
      },
    ],
    usage: null,
  }));
  if (includeUsage) chunks.push({ ...head, choices: [], usage: usageOf(generation) });
  return events(compact, '\n', chunks);
};

/** llama-server: `model` behind `choices`, `timings` on whichever event is the last. */
const llamaServer: EngineShape['stream'] = (generation, includeUsage) => {
  const { model, texts } = generation;
  const tail = {
    created: 1_790_000_000,
    id: 'chatcmpl-2',
    model,
    system_fingerprint: 'b9999-abc',
    object: 'chat.completion.chunk',
  };
  const timings = { cache_n: 8, prompt_n: 3, prompt_ms: 12.5, predicted_n: texts.length };
  const deltas = deltasOf(texts);
  const chunks: object[] = deltas.map((delta, at) => ({
    choices: [{ finish_reason: finishOf(at, deltas.length), index: 0, delta }],
    ...tail,
  }));
  if (includeUsage) chunks.push({ choices: [], ...tail, usage: usageOf(generation) });
  chunks.push({ ...chunks.pop(), timings });
  return events(compact, '\n', chunks);
};

export const engineShapes: readonly EngineShape[] = [
  { name: 'vLLM chat', volunteered: 'nothing', stream: vllm(false, compact, '\n') },
  { name: 'vLLM chat, older', volunteered: 'nothing', stream: vllm(true, compact, '\n') },
  { name: 'vLLM chat behind CRLF and spaces', volunteered: 'nothing', stream: vllm(true, spaced, '\r\n') },
  { name: 'vLLM 0.32', volunteered: 'nothing', stream: vllmFingerprint(1, compact, '\n') },
  { name: 'vLLM 0.32, two choices', volunteered: 'nothing', stream: vllmFingerprint(2, compact, '\n') },
  { name: 'vLLM 0.32 behind spaces', volunteered: 'nothing', stream: vllmFingerprint(2, spaced, '\r\n') },
  { name: 'vLLM completions', volunteered: 'null', stream: vllmCompletions },
  { name: 'SGLang', volunteered: 'null', stream: sglang },
  { name: 'llama-server', volunteered: 'nothing', stream: llamaServer },
];
