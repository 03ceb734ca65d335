import { fromUtf8, joinBytes, utf8 } from '@cognitora/protocol/bytes';
import type { JsonRecord } from '@cognitora/protocol/shape';
import { pieces } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerOf, type PureEngine, pureEngines } from '../../testing/pure-engine.ts';
import { continuationOf } from './continuation.ts';
import type { Sent } from './sent.ts';
import { SentStream } from './sent-stream.ts';
import { finishEvents, Stitch } from './stitch.ts';

const promptTokens = 20;

/** Tokens as models have them: a space in front, some white space alone, a stop sequence that does not come whole. */
const token = fc.oneof(
  fc.constantFrom(
    ' a',
    ' the',
    '\n',
    '\n\n',
    ' ',
    '    ',
    '"',
    '\\',
    'é',
    ' 🚀',
    '{',
    'data: x',
    'EN',
    ' END',
    '.',
  ),
  fc.string({ minLength: 1, maxLength: 6 }),
);
const tokens = fc.array(token, { minLength: 1, maxLength: 10 });

const requestOf = ({ path }: PureEngine, more: JsonRecord): Uint8Array => {
  const prompt =
    path === '/v1/completions' ? { prompt: 'Say' } : { messages: [{ role: 'user', content: 'Say' }] };
  return utf8(JSON.stringify({ model: 'm', ...prompt, stream: true, stop: ['END!', '###'], ...more }));
};

/** What a request says that was said, as an engine reads it. */
const toldIn = (request: JsonRecord): string => {
  if (typeof request.prompt === 'string') return request.prompt.slice('Say'.length);
  const messages = request.messages as { role: string; content: string }[];
  const last = messages.at(-1);
  return last?.role === 'assistant' ? last.content : '';
};

interface Case {
  readonly engine: PureEngine;
  readonly tokens: readonly string[];
  readonly tokensMax: number;
  /** Where each engine's answer breaks off, as a share of it. */
  readonly cuts: readonly number[];
  readonly pieceBytes: number;
}

interface Heard {
  readonly stream: string;
  readonly toldTexts: readonly string[];
}

const answerTo = ({ engine, tokens }: Case, request: JsonRecord, serial: number): Uint8Array =>
  utf8(
    answerOf(engine, {
      ...{ tokens, told: toldIn(request), promptTokens, cachedTokens: 16, serial },
      tokensMax: Number(request.max_tokens),
    }),
  );

/** What a client hears of a request whose engines break off one after the other. */
const hear = (one: Case): Heard => {
  const { engine, tokensMax, cuts, pieceBytes } = one;
  const body = requestOf(engine, { max_tokens: tokensMax, x_new: [1] });
  const stream = new SentStream(engine.path);
  const heard: Uint8Array[] = [];
  const toldTexts: string[] = [];
  let request = JSON.parse(fromUtf8(body)) as JsonRecord;
  let stitch: Stitch | undefined;
  for (let serial = 0; ; serial += 1) {
    const answer = answerTo(one, request, serial);
    const share = cuts[serial];
    const until = share === undefined ? answer.length : Math.floor(share * answer.length);
    const places = Array.from({ length: Math.floor(until / pieceBytes) }, (_, at) => (at + 1) * pieceBytes);
    for (const piece of pieces(answer.subarray(0, until), places)) {
      heard.push(stream.push(stitch?.push(piece) ?? piece));
    }
    if (share === undefined) break;
    stream.dropPartial();
    const next = nextOf(one, body, stream.sent);
    if (next instanceof Uint8Array) {
      heard.push(next);
      break;
    }
    ({ request, stitch } = next);
    toldTexts.push(toldIn(request));
  }
  return { stream: fromUtf8(joinBytes(heard)), toldTexts };
};

const nextOf = ({ engine }: Case, body: Uint8Array, sent: Sent) => {
  expect(sent.blocker).toBeUndefined();
  if (sent.finishReason !== undefined) return finishEvents(sent);
  const continuation = continuationOf(engine.path, body, sent);
  if (continuation === 'spent') return finishEvents(sent);
  if (continuation === 'unreadable') throw new Error('unreadable');
  const request = JSON.parse(fromUtf8(continuation.body)) as JsonRecord;
  expect(request.x_new).toEqual([1]);
  return { request, stitch: new Stitch(sent, continuation.seam) };
};

interface Chunk {
  readonly id?: string;
  readonly created?: number;
  readonly choices: readonly {
    readonly delta?: { readonly role?: string | null; readonly content?: string | null };
    readonly text?: string;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: JsonRecord | null;
}

const read = (stream: string) => {
  const data = [...stream.matchAll(/^data: (.*)$/gm)].map(([, line]) => line ?? '');
  const chunks = data.filter((line) => line !== '[DONE]').map((line) => JSON.parse(line) as Chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    dones: data.filter((line) => line === '[DONE]').length,
    lastIsDone: data.at(-1) === '[DONE]',
    ids: [...new Set(chunks.map(({ id }) => id))],
    createds: [...new Set(chunks.map(({ created }) => created))],
    roles: choices.flatMap(({ delta }) => (typeof delta?.role === 'string' ? [delta.role] : [])),
    text: choices.map(({ delta, text }) => delta?.content ?? text ?? '').join(''),
    finishes: choices.flatMap(({ finish_reason: reason }) => (reason === null ? [] : [reason])),
    usages: chunks.flatMap(({ usage }) => (usage ? [usage] : [])),
  };
};

describe.each(pureEngines.map((engine) => [engine.name, engine] as const))('%s', (_, engine) => {
  const cases = fc.record<Case>({
    engine: fc.constant(engine),
    tokens,
    tokensMax: fc.integer({ min: 1, max: 14 }),
    cuts: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 3 }),
    pieceBytes: fc.integer({ min: 1, max: 600 }),
  });

  test('a client hears one answer, the undisturbed one, wherever its engines break off', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const undisturbed = read(hear({ ...one, cuts: [] }).stream);
        const { stream } = hear(one);
        const { usages, ids, createds, ...heard } = read(stream);
        const { usages: counts, ids: _ids, createds: _createds, ...expected } = undisturbed;
        expect(heard).toEqual(expected);
        expect([ids.length, createds.length]).toEqual([1, 1]);
        // A stream that broke off behind its last token ends without counts: nobody has them.
        expect(usages.length === 0 ? counts : usages).toEqual(counts);
      }),
      { numRuns: 400 },
    );
  });

  test('an engine is told no more than was said, and never white space at its end', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const text = one.tokens.join('');
        for (const told of hear(one).toldTexts) {
          expect(text.startsWith(told)).toBe(true);
          expect(told).toBe(told.trimEnd());
        }
      }),
      { numRuns: 100 },
    );
  });
});
