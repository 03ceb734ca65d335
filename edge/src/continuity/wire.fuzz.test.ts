import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { cuts, pieces, text } from '@cognitora/protocol/testing/bytes-in-pieces';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dataHeader, endFrame, failFrame, oursFrame, WireReader } from './wire.ts';

type Said = readonly [kind: 'data' | 'ours', text: string];

const written = (said: readonly Said[], end: Uint8Array): Uint8Array =>
  joinBytes([
    ...said.flatMap(([kind, words]) => {
      const bytes = utf8(words);
      return kind === 'data' ? [dataHeader(bytes.length), bytes] : [oursFrame(bytes)];
    }),
    end,
  ]);

/** What is read: data that follow each other as one, since they may come in any pieces. */
const heard = (pieces: readonly Uint8Array[]): readonly (readonly string[])[] => {
  const all: string[][] = [];
  const wire = new WireReader({
    data: (bytes) => {
      const last = all.at(-1);
      if (last?.[0] === 'data') last[1] += text(bytes);
      else all.push(['data', text(bytes)]);
    },
    ours: (bytes) => all.push(['ours', text(bytes)]),
    end: () => all.push(['end']),
    fail: ({ code, message }) => all.push(['fail', code, message]),
  });
  for (const piece of pieces) wire.push(piece);
  return all;
};

const joined = (said: readonly Said[]): readonly (readonly string[])[] => {
  const all: string[][] = [];
  for (const [kind, words] of said) {
    const last = all.at(-1);
    if (kind === 'data' && last?.[0] === 'data') last[1] += words;
    else all.push([kind, words]);
  }
  return all;
};

const words = fc.string({ unit: fc.constantFrom('a', '\n', '{', '\0'), maxLength: 300 });
const said = fc.array(fc.tuple(fc.constantFrom('data' as const, 'ours' as const), words), { maxLength: 12 });

test('what was written is read, in its order, in whatever pieces it comes', () => {
  const failure = new CognitoraError('link_lost', 'The link was “lost”.');
  fc.assert(
    fc.property(said, cuts, fc.boolean(), (all, at, isWhole) => {
      const bytes = written(all, isWhole ? endFrame : failFrame(failure));
      const end = isWhole ? ['end'] : ['fail', failure.code, failure.message];
      expect(heard(pieces(bytes, at))).toEqual([...joined(all), end]);
    }),
  );
});

test('one that was cut says no end', () => {
  const bytes = written([['data', 'abc']], endFrame);
  for (let cut = 0; cut < bytes.length; cut += 1) {
    expect(heard([bytes.subarray(0, cut)]).flat()).not.toContain('end');
  }
});
