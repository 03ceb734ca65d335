import { utf8 } from '@cognitora/protocol/bytes';
import { expect, test } from 'vitest';
import { opensOnly } from './opening-event.ts';

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const chunk = (choice: object): string => event({ id: 'x', choices: [{ index: 0, ...choice }] });
const role = chunk({ delta: { role: 'assistant', content: '' }, finish_reason: null, logprobs: null });

test.each([
  ['the role', role],
  ['the role of vLLM, with null for a text', chunk({ delta: { role: 'assistant', content: null } })],
  ['the role in lines that end otherwise', role.replaceAll('\n', '\r\n')],
  ['the roles of two choices', role + event({ choices: [{ index: 1, delta: { role: 'assistant' } }] })],
  ['an empty text', chunk({ text: '', finish_reason: '' })],
  ['no choice', event({ choices: [], prompt_filter_results: [] })],
  ['a comment before it', `: ping\n\n${role}`],
])('%s says only that an answer will come', (_, said) => {
  expect(opensOnly(utf8(said))).toBe(true);
});

test.each([
  ['a text', chunk({ delta: { content: ' ' } })],
  ['a text behind the role', role + chunk({ delta: { content: 'a' } })],
  ['a thought', chunk({ delta: { role: 'assistant', reasoning_content: 'a' } })],
  ['a call', chunk({ delta: { tool_calls: [{ index: 0 }] } })],
  ['a completion', chunk({ text: 'a' })],
  ['an end', chunk({ delta: {}, finish_reason: 'stop' })],
  ['an end of the stream', 'data: [DONE]\n\n'],
  ['something else', event({ type: 'response.created' })],
  ['a half event', role.slice(0, -1)],
  ['something long', chunk({ delta: { role: 'assistant', content: '' }, padding: 'x'.repeat(5_000) })],
])('%s says more', (_, said) => {
  expect(opensOnly(utf8(said))).toBe(false);
});
