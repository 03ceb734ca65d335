import { describe, expect, it } from 'vitest';
import { tokenLogprob } from './logprobs.ts';
import { createVocabulary } from './vocabulary.ts';

describe('the bytes of a token', () => {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

  it('are read from the byte alphabet of BPE vocabularies', () => {
    const vocabulary = createVocabulary({
      kind: 'bpe',
      tokens: ['Ġthe', 'Ã', '<|end|>', 'Ġ<x>'],
      types: [1, 1, 3, 4],
    });
    expect(text(vocabulary.textBytes(0))).toBe(' the');
    expect([...vocabulary.textBytes(1)]).toEqual([0xc3]);
    expect(vocabulary.textBytes(2).length).toBe(0);
    expect(text(vocabulary.pieceBytes(2))).toBe('<|end|>');
    // User-defined tokens are written as they are.
    expect(Buffer.from(vocabulary.textBytes(3)).toString()).toBe('Ġ<x>');
    expect(vocabulary.textBytes(99).length).toBe(0);
  });

  it('are read from SentencePiece spellings', () => {
    const vocabulary = createVocabulary({
      kind: 'spm',
      tokens: ['▁Once', '<0xE2>', '<s>'],
      types: [1, 6, 3],
    });
    expect(text(vocabulary.textBytes(0))).toBe(' Once');
    expect([...vocabulary.textBytes(1)]).toEqual([0xe2]);
    expect(vocabulary.textBytes(2).length).toBe(0);
  });

  it('bound how few tokens a text can have', () => {
    const vocabulary = createVocabulary({ kind: 'bpe', tokens: ['a', 'Ġthere'], types: [1, 1] });
    expect(vocabulary.pieceBytesMax).toBeGreaterThanOrEqual(6);
  });
});

describe('log-probabilities', () => {
  const logits = [2, 1, -1, 0.5];
  const softmax = (values: readonly number[]): number[] => {
    const sum = values.reduce((total, value) => total + Math.exp(value), 0);
    return values.map((value) => Math.exp(value) / sum);
  };
  const sorted = (values: readonly number[]): Map<number, number> =>
    new Map(
      softmax(values)
        .map((p, token): [number, number] => [token, p])
        .sort((a, b) => b[1] - a[1]),
    );

  it('are the same at every temperature: those of the model, not of the sampler', () => {
    const cold = tokenLogprob(3, sorted(logits), { temperature: 0, top: 2 });
    const warm = tokenLogprob(3, sorted(logits.map((logit) => logit / 0.4)), { temperature: 0.4, top: 2 });
    expect(cold.logprob).toBeCloseTo(Math.log(softmax(logits)[3] ?? 0), 6);
    expect(warm.logprob).toBeCloseTo(cold.logprob, 6);
    expect(cold.top.map((entry) => entry.token)).toEqual([0, 1]);
  });

  it('stay finite for a token that could not come', () => {
    const probabilities = new Map([
      [0, 1],
      [1, 0],
    ]);
    expect(tokenLogprob(1, probabilities, { temperature: 0, top: 5 }).logprob).toBe(-9999);
    expect(tokenLogprob(0, probabilities, { temperature: 0, top: 0 }).logprob).toBe(0);
  });
});
