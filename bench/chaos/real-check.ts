/**
 * Whether streams of real engines were put together right, from what each engine was asked and said: all that was sent
 * before a break is still there, and what follows is what the taking engine said. Pure.
 */
import type { Recorded } from './recorder-messages.ts';

/** The text of an SSE answer, as far as it came. */
export const textOf = (sse: string): string => {
  let text = '';
  for (const event of sse.split('\n\n').slice(0, -1)) {
    const json = /^data: (\{.*\})$/s.exec(event)?.[1];
    if (json === undefined) continue;
    const { choices = [] } = JSON.parse(json) as { choices?: readonly Choice[] };
    text += choices[0]?.text ?? choices[0]?.delta?.content ?? '';
  }
  return text;
};

interface Choice {
  readonly text?: string;
  readonly delta?: { readonly content?: string | null };
}

const promptIn = (body: string): string => String((JSON.parse(body) as { prompt?: unknown }).prompt);

export interface RealVerdict {
  readonly isRight: boolean;
  /** What is wrong; '' for a right one. */
  readonly why: string;
  readonly continuations: number;
}

/** `asked` in the order in which engines had the request; `text` is what the client got. */
export const checkReal = (text: string, asked: readonly Recorded[]): RealVerdict => {
  const [first] = asked;
  if (first === undefined) return { isRight: false, why: 'no engine had it', continuations: 0 };
  const prompt = promptIn(first.body);
  const continuations = asked.filter(({ body }) => promptIn(body) !== prompt).length;
  const wrong = (why: string): RealVerdict => ({ isRight: false, why, continuations });
  /** All that engines said of it, up to the one that is looked at. */
  let said = '';
  for (const { body, answer } of asked) {
    const asks = promptIn(body);
    if (!asks.startsWith(prompt)) return wrong('a continuation has another prompt');
    const emitted = asks.slice(prompt.length);
    if (!said.startsWith(emitted)) return wrong('a continuation begins behind what no engine said');
    if (!text.startsWith(emitted)) return wrong('text before a break is not what the client has');
    said = emitted + textOf(answer);
  }
  if (said !== text) return wrong('the rest is not what the last engine said');
  return { isRight: true, why: '', continuations };
};
