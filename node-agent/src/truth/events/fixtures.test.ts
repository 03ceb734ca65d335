import { describe, expect, test } from 'vitest';
import {
  constructedEvents,
  messageOf,
  recordedEvents,
  recordedTokens,
} from '../../../testing/kv-fixtures.ts';
import { tokensOfStrings } from '../render/token-strings.ts';
import { type EventMessage, Subscription } from './subscription.ts';
import { TokenBlocks, tokenChain } from './token-blocks.ts';

/** Listens to messages one after the other. */
const listening = (replay: readonly EventMessage[] = []) => {
  const blocks = new TokenBlocks();
  let isCleared = false;
  const subscription = new Subscription({
    replay: async (first) => replay.filter(({ sequence }) => sequence >= first),
    onEvents: (events) => {
      isCleared = blocks.apply(events).isCleared || isCleared;
    },
  });
  return { blocks, subscription, wasCleared: () => isCleared };
};

const run = (from: number): number[] => Array.from({ length: 8 }, (_, at) => from + at);

describe.each(constructedEvents())('constructed events, $encoding', ({ cases }) => {
  /** Of the runs A (two blocks), A and half of B, and B: how many of their blocks are held. */
  const expected: Readonly<Record<string, readonly [a: number, extended: number, b: number]>> = {
    stored: [2, 3, 0],
    removed: [1, 1, 0],
    cleared: [0, 0, 2],
    gap: [0, 0, 2],
    'gap, replayed': [0, 0, 2],
    restart: [0, 0, 2],
    salted: [0, 0, 0],
    LoRA: [0, 0, 0],
    image: [0, 0, 0],
    'two mediums, host left': [2, 2, 0],
    'two mediums, device left': [1, 1, 0],
    'two mediums, back': [2, 2, 0],
    'stored twice, removed once': [2, 2, 0],
    'two groups, removed from one': [2, 2, 0],
    "a window's group": [0, 0, 0],
  };

  test('are those that a case is expected for', () => {
    expect(Object.keys(cases)).toEqual(Object.keys(expected));
  });

  test.each(Object.entries(cases))('%s', async (name, { messages, replay }) => {
    const { blocks, subscription, wasCleared } = listening(replay.map(messageOf));
    for (const message of messages) await subscription.message(messageOf(message));
    const held = (tokens: readonly number[]): number => {
      const missing = tokenChain(tokens, 4).findIndex((digest) => !blocks.holds(digest));
      return missing < 0 ? tokens.length / 4 : missing;
    };
    const [a, b] = [run(100), run(200)];
    expect([held(a), held([...a, ...b.slice(0, 4)]), held(b)]).toEqual(expected[name]);
    expect(wasCleared()).toBe(['cleared', 'gap', 'restart'].includes(name));
  });
});

describe('events recorded from a server', () => {
  const { messages, replay } = recordedEvents();

  test('say what was held, and what went: salted prompts and adapters aside', async () => {
    const blocks = new TokenBlocks();
    const changes: Record<string, readonly number[]> = {};
    let what = '';
    const subscription = new Subscription({
      replay: async () => [],
      onEvents: (events) => {
        const { isCleared, held, gone } = blocks.apply(events);
        changes[what] = [isCleared ? 1 : 0, held.length, gone.length];
      },
    });
    for (const { after, ...message } of messages) {
      what = after;
      await subscription.message(messageOf(message));
    }
    // Cleared, held, gone. Two of the five blocks that the last one evicts are of the salted prompt.
    expect(changes).toEqual({
      first: [0, 2, 0],
      'follow-up': [0, 2, 0],
      salted: [0, 0, 0],
      LoRA: [0, 0, 0],
      'filled 1': [0, 5, 0],
      'filled 2': [0, 5, 0],
      'filled 3, evicts': [0, 5, 1],
      'filled 4, evicts': [0, 5, 3],
      'cleared, stored again': [1, 2, 0],
    });
    expect(blocks.blockTokens).toBe(32);
  });

  test('are replayed in messages whose last two frames are sequence and payload', () => {
    const read = replay.map((frames) => frames.map((frame) => Buffer.from(frame, 'base64')));
    const numbered = read.map((frames) => Number(frames.at(-2)?.readBigInt64BE()));
    expect(numbered).toEqual([1, 2, 3, 4, 5, 6, 7, 8, -1]);
    expect(read[0]?.at(-1)).toEqual(Buffer.from(messages[1]?.payload ?? '', 'base64'));
  });
});

test('tokens recorded from tokenizers end where their strings say', () => {
  for (const { exchanges } of recordedTokens()) {
    for (const { answer, text } of exchanges) {
      const tokens = tokensOfStrings(text, answer.tokens, answer.token_strs);
      expect(tokens?.ids).toEqual(answer.tokens);
      expect(tokens?.ends.at(-1)).toBe(text.length);
    }
  }
});
