/**
 * Tokenizers of vocabularies that were drawn by lot: what is true with any of these does not rest on one model's. They
 * differ as real ones do: in what they take for a word, in whether they join bytes or characters, and in how.
 */
import fc from 'fast-check';
import type { TextTokens } from '../../embedded-engine/src/testing/vocabulary-file.ts';

/** Texts are cut into words first, and no token reaches over two. */
const wordPatterns = {
  /** GPT-2 and its heirs: a space goes with the word behind it, and what a run of spaces is shows at its end. */
  looksAhead: /'(?:s|t)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu,
  /** SentencePiece: all up to the next space is one word, line breaks and marks included. */
  spaced: / +[^ ]*|[^ ]+/gu,
  /** WordPiece: marks stand alone. */
  marksApart: /[^\S ]+| *\p{P}| *[^\s\p{P}]+| +/gu,
} as const;
const specials = /<\|?[a-z_]+\|?>|\[\/?[A-Z_]+\]|<｜[^｜]*｜>|<\/s>/g;

const joinings = ['merges', 'longest', 'likeliest'] as const;

export interface DrawnVocabulary {
  readonly seed: number;
  readonly words: keyof typeof wordPatterns;
  readonly joins: (typeof joinings)[number];
  readonly ofBytes: boolean;
  readonly knowsSpecials: boolean;
  /** Of a thousand strings so many are tokens. */
  readonly permille: number;
}

export const drawnVocabulary: fc.Arbitrary<DrawnVocabulary> = fc.record({
  seed: fc.nat(),
  words: fc.constantFrom('looksAhead', 'spaced', 'marksApart'),
  joins: fc.constantFrom(...joinings),
  ofBytes: fc.boolean(),
  knowsSpecials: fc.boolean(),
  permille: fc.integer({ min: 100, max: 900 }),
});

const pieceCharsMax = 10;

/** A number in [0, 1000) for each string, other numbers with another seed. */
const lotOf = (piece: string, seed: number): number => {
  let hash = seed | 0;
  for (let at = 0; at < piece.length; at += 1) hash = Math.imul(hash ^ piece.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) % 1000;
};

/** Byte-pair encoding: the pair that was learned first is joined first, wherever in the word it stands. */
const merged = (units: readonly string[], { seed, permille }: DrawnVocabulary): string[] => {
  const pieces = [...units];
  for (;;) {
    let best = -1;
    let bestRank = permille;
    for (let at = 0; at + 1 < pieces.length; at += 1) {
      const pair = `${pieces[at]}${pieces[at + 1]}`;
      const rank = pair.length > pieceCharsMax ? permille : lotOf(pair, seed);
      if (rank < bestRank) [best, bestRank] = [at, rank];
    }
    if (best < 0) return pieces;
    pieces.splice(best, 2, `${pieces[best]}${pieces[best + 1]}`);
  }
};

const isToken = (piece: string, units: number, { seed, permille }: DrawnVocabulary): boolean =>
  units === 1 || lotOf(piece, seed) < permille;

const longest = (units: readonly string[], drawn: DrawnVocabulary): string[] => {
  const pieces: string[] = [];
  for (let from = 0; from < units.length; ) {
    let count = Math.min(pieceCharsMax, units.length - from);
    while (!isToken(units.slice(from, from + count).join(''), count, drawn)) count -= 1;
    pieces.push(units.slice(from, from + count).join(''));
    from += count;
  }
  return pieces;
};

/** Unigram: of all ways to cut a word that with the best sum of its pieces' scores. */
const likeliest = (units: readonly string[], drawn: DrawnVocabulary): string[] => {
  const best: { readonly cost: number; readonly pieces: readonly string[] }[] = [{ cost: 0, pieces: [] }];
  for (let end = 1; end <= units.length; end += 1) {
    for (let from = Math.max(0, end - pieceCharsMax); from < end; from += 1) {
      const piece = units.slice(from, end).join('');
      if (!isToken(piece, end - from, drawn)) continue;
      const cost = (best[from]?.cost ?? 0) + 300 + lotOf(piece, drawn.seed + 1);
      const known = best[end];
      if (known === undefined || cost < known.cost) {
        best[end] = { cost, pieces: [...(best[from]?.pieces ?? []), piece] };
      }
    }
  }
  return [...(best[units.length]?.pieces ?? [])];
};

const joiner = { merges: merged, longest, likeliest } as const;

/** Ids are given in the order in which tokens are first seen. */
export const tokenizerOf = (drawn: DrawnVocabulary): ((text: string) => TextTokens) => {
  const known = new Map<string, number>();
  const wordTokens = new Map<string, readonly string[]>();
  const idOf = (piece: string): number => {
    const id = known.get(piece) ?? known.size;
    known.set(piece, id);
    return id;
  };
  const piecesOf = (word: string): readonly string[] => {
    const before = wordTokens.get(word);
    if (before !== undefined) return before;
    const units = drawn.ofBytes ? Array.from(Buffer.from(word).toString('latin1')) : Array.from(word);
    const pieces = joiner[drawn.joins](units, drawn);
    wordTokens.set(word, pieces);
    return pieces;
  };
  return (text) => {
    const pieces: Uint8Array[] = [];
    const ids: number[] = [];
    const addWords = (plain: string): void => {
      for (const [word] of plain.matchAll(wordPatterns[drawn.words])) {
        for (const piece of piecesOf(word)) {
          ids.push(idOf(piece));
          pieces.push(Buffer.from(piece, drawn.ofBytes ? 'latin1' : 'utf8'));
        }
      }
    };
    let from = 0;
    for (const { 0: special, index } of drawn.knowsSpecials ? text.matchAll(specials) : []) {
      addWords(text.slice(from, index));
      ids.push(idOf(`special ${special}`));
      pieces.push(Buffer.from(special));
      from = index + special.length;
    }
    addWords(text.slice(from));
    return { ids, pieces };
  };
};
