import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cuts, joinText, pieces, text } from '../testing/bytes-in-pieces.ts';
import { trickyString } from '../testing/json-text.ts';
import { utf8 } from './bytes.ts';
import { sseEventBytesMax } from './limits.ts';
import { ProgressReader } from './progress.ts';

const run = (
  pushes: readonly Uint8Array[],
): { readonly passed: string; readonly processedTokens: number } => {
  const reader = new ProgressReader();
  const passed = joinText([...pushes.flatMap((push) => [...reader.push(push)]), ...reader.end()]);
  return { passed, processedTokens: reader.processedTokens };
};

/** As llama.cpp's server writes them: the member comes last in a chat, before the timings or alone in a completion. */
const chatProgress = (processed: number): object => ({
  choices: [{ finish_reason: null, index: 0, delta: { role: 'assistant', content: null } }],
  object: 'chat.completion.chunk',
  prompt_progress: { total: 1543, cache: 0, processed, time_ms: 262 },
});
const textProgress = (processed: number): object => ({
  choices: [{ text: '', index: 0, logprobs: null, finish_reason: null }],
  prompt_progress: { total: 1502, cache: 1, processed, time_ms: 224 },
  timings: { cache_n: 1 },
});

const lineEnd = fc.constantFrom('\n', '\r\n', '\r');
const written = fc.record({
  progress: fc.option(fc.nat(5000)),
  isChat: fc.boolean(),
  content: fc.oneof(trickyString, fc.constant('{"prompt_progress":{"processed":9}}')),
  end: lineEnd,
  isComment: fc.boolean(),
});

test('the events that tell of prefill are gone and all others as they were, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 8 }), cuts, fc.boolean(), (events, at, isTorn) => {
      let sent = '';
      let kept = '';
      for (const { progress, isChat, content, end, isComment } of events) {
        const answer = { choices: [{ index: 0, delta: { content } }], model: content };
        const said = progress === null ? answer : (isChat ? chatProgress : textProgress)(progress);
        const event = isComment ? `: ping${end}${end}` : `data: ${JSON.stringify(said)}${end}${end}`;
        sent += event;
        if (isComment || progress === null) kept += event;
      }
      const rest = isTorn ? 'data: {"choices":[{"te' : 'data: [DONE]\n\n';
      const { passed, processedTokens } = run(pieces(utf8(sent + rest), at));
      expect(passed).toBe(kept + rest);
      const told = events.map(({ progress, isComment }) => (isComment ? 0 : (progress ?? 0)));
      expect(processedTokens).toBe(Math.max(0, ...told));
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['in a text', { choices: [{ text: '"prompt_progress":{"processed":7}' }] }],
  ['below the top', { choices: [{ delta: { prompt_progress: { processed: 7 } } }] }],
  ['that is no object', { choices: [], prompt_progress: null }],
  ['that is a number', { choices: [], prompt_progress: 7 }],
])('a member of the name %s is not taken for it', (_, said) => {
  const event = `data: ${JSON.stringify(said)}\n\n`;
  expect(run([utf8(event)])).toEqual({ passed: event, processedTokens: 0 });
});

test('an event that counts nothing is gone, and counts as nothing', () => {
  for (const value of [{}, { processed: '7' }, { processed: null }, { processed: -7 }]) {
    const event = `data: ${JSON.stringify({ choices: [], prompt_progress: value })}\n\n`;
    expect(run([utf8(event)])).toEqual({ passed: '', processedTokens: 0 });
  }
});

test('one at the very end of a body, without a blank line behind it, is gone too', () => {
  expect(run([utf8(`data: ${JSON.stringify(chatProgress(7))}`)])).toEqual({ passed: '', processedTokens: 7 });
});

test('an event above the bound passes unread', () => {
  const event = `data: {"a":"${'x'.repeat(sseEventBytesMax)}","prompt_progress":{"processed":1}}\n\n`;
  expect(run([utf8(event)])).toEqual({ passed: event, processedTokens: 0 });
});

test('bytes that pass are those that came, not copies', () => {
  const event = utf8('data: {"choices":[]}\n\n');
  const [passed] = new ProgressReader().push(event);
  expect(text(passed ?? new Uint8Array())).toBe(text(event));
  expect(passed?.buffer).toBe(event.buffer);
});
