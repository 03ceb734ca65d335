/**
 * A small deterministic tokenizer with what makes real ones hard for prefixes: special tokens, words found by a pattern
 * that looks ahead, and within a word merges in an order that depends on the whole word. Only tests import it.
 */
const special = /<\|?[a-z_]+\|?>|\[\/?[A-Z_]+\]|<｜[^｜]*｜>|<\/s>/g;
const words = /'(?:s|t)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;

const rank = (pair: string): number => {
  let hash = 7;
  for (const character of pair) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % 97;
};
/** Pairs that rank above this are never merged, so that words fall into several tokens. */
const rankMax = 60;

const tokensOfWord = (word: string): string[] => {
  const tokens = Array.from(word);
  for (;;) {
    let best = -1;
    let bestRank = rankMax;
    for (let at = 0; at + 1 < tokens.length; at += 1) {
      const merged = `${tokens[at]}${tokens[at + 1]}`;
      if (merged.length <= 8 && rank(merged) < bestRank) {
        best = at;
        bestRank = rank(merged);
      }
    }
    if (best < 0) return tokens;
    tokens.splice(best, 2, `${tokens[best]}${tokens[best + 1]}`);
  }
};

/** The tokens' texts, and for each the position that it ends before. */
export const tokensOf = (text: string): { readonly texts: string[]; readonly ends: number[] } => {
  const texts: string[] = [];
  let from = 0;
  const addWords = (plain: string): void => {
    for (const [word] of plain.matchAll(words)) texts.push(...tokensOfWord(word));
  };
  for (const match of text.matchAll(special)) {
    addWords(text.slice(from, match.index));
    texts.push(match[0]);
    from = match.index + match[0].length;
  }
  addWords(text.slice(from));
  const ends: number[] = [];
  let end = 0;
  for (const token of texts) {
    end += token.length;
    ends.push(end);
  }
  return { texts, ends };
};
