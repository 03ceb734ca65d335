/**
 * Prompts as clients send them: chat requests of a given length in bytes, of words that nobody else has. English
 * letters, and in one message of four a typographic apostrophe, which makes it a two-byte string.
 */
import type { PromptRequest } from '@cognitora/protocol/prefix/layout';
import type { Random } from './traffic.ts';

/** A message of the middle of a conversation, in characters: a paragraph or a tool's result. */
const messageCharsMin = 400;
const messageCharsMax = 4000;
const oddShare = 0.25;

const textOf = (random: Random, chars: number): string => {
  const words: string[] = [random.share() < oddShare ? 'it\u2019s' : 'it'];
  for (let made = 0; made < chars; made += words.at(-1)?.length ?? 0)
    words.push(` ${random.word().toString(36)}`);
  return words.join('').slice(0, chars);
};

/** A chat of so many characters, a system prompt first, then users and assistants in turn. */
export const chatOf = (random: Random, chars: number): PromptRequest => {
  const messages: { readonly role: string; readonly content: string }[] = [];
  for (let left = chars; left > 0; left -= messages.at(-1)?.content.length ?? 0) {
    const length = Math.min(left, random.between(messageCharsMin, messageCharsMax));
    const role = messages.length === 0 ? 'system' : messages.length % 2 === 1 ? 'user' : 'assistant';
    messages.push({ role, content: textOf(random, length) });
  }
  return { path: '/v1/chat/completions', body: { model: 'bench', messages, stream: true } };
};
