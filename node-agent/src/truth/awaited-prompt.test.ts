import { utf8 } from '@cognitora/protocol/bytes';
import { prefixBodyBytesMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { openOf } from '../../testing/scripted-edge.ts';
import type { RequestWatch } from '../serve.ts';
import { AwaitedPrompt } from './awaited-prompt.ts';
import { answerBytesMax, keptBytesMax } from './served-prompt.ts';

const heardBy = () => {
  const heard: string[] = [];
  const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const watch: RequestWatch = {
    body: (bytes, isLast) => heard.push(`body ${textOf(bytes)} ${isLast}`),
    head: (status) => heard.push(`head ${status}`),
    data: (bytes) => heard.push(`data ${textOf(bytes)}`),
    ended: (isClean, usage) => heard.push(`ended ${isClean} ${usage?.promptTokens}`),
  };
  return { heard, watch };
};

const awaited = (bodyBytes = 4) => {
  const keeping = { bytes: 0, later: (run: () => void) => run(), readReply: () => undefined };
  return { keeping, prompt: new AwaitedPrompt(openOf(bodyBytes, {}), keeping) };
};

test('what went by is repeated in its order, and what comes later is heard at once', () => {
  const { keeping, prompt } = awaited();
  const link = utf8('body');
  prompt.body(link, true);
  link.fill(0);
  prompt.head(200);
  prompt.data(utf8('one'));
  expect(keeping.bytes).toBe(7);
  const { heard, watch } = heardBy();
  prompt.repeatTo(watch);
  expect([heard.splice(0), keeping.bytes]).toEqual([['body body true', 'head 200', 'data one'], 0]);
  prompt.data(utf8('two'));
  prompt.ended(true, { promptTokens: 9, completionTokens: 1 });
  expect([heard, keeping.bytes]).toEqual([['data two', 'ended true 9'], 0]);
});

test('what is forgotten keeps nothing, and is repeated to nobody', () => {
  const { keeping, prompt } = awaited();
  prompt.body(utf8('body'), true);
  prompt.forget();
  prompt.data(utf8('one'));
  const { heard, watch } = heardBy();
  prompt.repeatTo(watch);
  prompt.ended(true, undefined);
  expect([heard, keeping.bytes]).toEqual([[], 0]);
});

test('an answer that is too long, or for which there is no room, is forgotten whole', () => {
  const long = awaited();
  long.prompt.data(new Uint8Array(answerBytesMax));
  expect(long.keeping.bytes).toBe(answerBytesMax);
  long.prompt.data(new Uint8Array(1));
  const crowded = awaited();
  crowded.prompt.body(utf8('body'), true);
  crowded.keeping.bytes += keptBytesMax - 4;
  crowded.prompt.data(new Uint8Array(1));
  expect([long.keeping.bytes, crowded.keeping.bytes]).toEqual([0, keptBytesMax - 4]);
  const { heard, watch } = heardBy();
  for (const { prompt } of [long, crowded]) prompt.repeatTo(watch);
  expect(heard).toEqual([]);
});

test('of a body that is too long to be digested nothing is kept but that it was there', () => {
  const { keeping, prompt } = awaited(prefixBodyBytesMax + 1);
  prompt.body(utf8('body'), true);
  prompt.data(utf8('one'));
  expect(keeping.bytes).toBe(3);
  const { heard, watch } = heardBy();
  prompt.repeatTo(watch);
  expect(heard).toEqual(['body  true', 'data one']);
});
