/**
 * A byte-level BPE as engines run it, written from its description: text is cut at special tokens, then into words, and
 * each word's bytes are merged in the order of the vocabulary's merges. Reads a `tokenizer.json`; knows no library.
 */
import { readFileSync } from 'node:fs';

interface TokenizerJson {
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (readonly [string, string])[];
  };
}

const words = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Bytes as the vocabulary writes them. */
const inAlphabet = (text: string): string[] =>
  [...Buffer.from(text)].map((byte) => {
    const isShown = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const before = byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 94 : 67;
    return String.fromCharCode(isShown ? byte : 256 + before);
  });

export class ByteLevelBpe {
  readonly #vocabulary: Readonly<Record<string, number>>;
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #special: ReadonlyMap<string, number>;

  constructor(path: string) {
    const { model, added_tokens: added } = JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson;
    this.#vocabulary = model.vocab;
    this.#ranks = new Map(model.merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    this.#special = new Map(added.map(({ content, id }) => [content, id]));
  }

  encode(text: string): readonly number[] {
    const special = [...this.#special.keys()].map((token) => token.replaceAll('|', '\\|'));
    return text.split(new RegExp(`(${special.join('|')})`)).flatMap((part) => {
      const id = this.#special.get(part);
      return id === undefined ? (part.match(words) ?? []).flatMap((word) => this.#word(word)) : [id];
    });
  }

  #word(word: string): number[] {
    let pieces = inAlphabet(word);
    for (;;) {
      const ranks = pieces.map((piece, at) => this.#ranks.get(`${piece} ${pieces[at + 1]}`) ?? Infinity);
      const at = ranks.indexOf(Math.min(...ranks));
      if (ranks[at] === undefined || ranks[at] === Infinity) break;
      pieces = [...pieces.slice(0, at), `${pieces[at]}${pieces[at + 1]}`, ...pieces.slice(at + 2)];
    }
    return pieces.map((piece) => this.#vocabulary[piece] ?? 0);
  }
}
