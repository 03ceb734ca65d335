/**
 * Tokens of a prompt, unit by unit: a unit begins with a special token and ends before the next one, so that the turns
 * of a conversation are tokenised once and not with each turn after. That a text's tokens are those of its units is
 * tried with the first texts, and not believed of a tokenizer with which it does not hold. Pure but for what it keeps.
 */
import type { PromptTokens } from '../pieces.ts';
import { tokensOfStrings } from '../token-strings.ts';

/** The tokenizer, as far as it is used. */
export interface Encoder {
  readonly encode: (text: string) => { readonly ids: readonly number[]; readonly tokens: readonly string[] };
  readonly decode: (ids: readonly number[]) => string;
}

export interface AddedToken {
  readonly content: string;
  readonly special?: boolean;
  readonly lstrip?: boolean;
  readonly single_word?: boolean;
  readonly normalized?: boolean;
}

export interface TokenisedText {
  /** As the tokens have it: a tokenizer may write a character in another form. */
  readonly text: string;
  readonly tokens: PromptTokens;
}

/** Of all units that are kept, with 10 bytes for each: 40 MB. */
const keptCharsMax = 4 * 1024 * 1024;
/** More than any chat has; an expression of all is compiled once. */
const startsMax = 1_024;
/** Texts with which units are compared with the whole. */
const trialsMax = 4;

const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/** Matches before each token that may begin a unit. One that takes the space before it, or minds it, may not. */
const startsOf = (added: readonly AddedToken[]): RegExp | undefined => {
  const starts = added
    .filter(
      ({ special, lstrip, single_word: word, normalized }) => special && !lstrip && !word && !normalized,
    )
    .map(({ content }) => content)
    .filter((content) => content !== '')
    .sort((one, other) => other.length - one.length)
    .slice(0, startsMax);
  return starts.length === 0 ? undefined : new RegExp(`(?=${starts.map(escaped).join('|')})`, 'u');
};

const joined = (parts: readonly TokenisedText[]): TokenisedText => {
  const ids = parts.flatMap(({ tokens }) => tokens.ids);
  const ends = new Int32Array(ids.length);
  let token = 0;
  let characters = 0;
  for (const { text, tokens } of parts) {
    for (const end of tokens.ends) {
      ends[token] = characters + end;
      token += 1;
    }
    characters += text.length;
  }
  return { text: parts.map(({ text }) => text).join(''), tokens: { ids, ends } };
};

const isSame = (one: readonly number[], other: readonly number[]): boolean =>
  one.length === other.length && one.every((id, at) => id === other[at]);

export class UnitTokens {
  readonly #encoder: Encoder;
  readonly #charsMax: number;
  #starts: RegExp | undefined;
  #trials = 0;
  /** The one that was not used for longest first. */
  readonly #units = new Map<string, TokenisedText>();
  #chars = 0;

  constructor(encoder: Encoder, added: readonly AddedToken[], charsMax = keptCharsMax) {
    this.#encoder = encoder;
    this.#charsMax = charsMax;
    this.#starts = startsOf(added);
  }

  /** Undefined when nobody can tell where the tokens end. */
  tokenise(text: string): TokenisedText | undefined {
    if (this.#starts === undefined) return this.#whole(text);
    const parts = text.split(this.#starts).map((unit) => this.#unit(unit));
    const units = parts.every((part) => part !== undefined) ? joined(parts) : undefined;
    if (this.#trials >= trialsMax) return units;
    this.#trials += 1;
    const whole = this.#whole(text);
    const isRight = units !== undefined && whole !== undefined && isSame(units.tokens.ids, whole.tokens.ids);
    if (!isRight) this.#forgetUnits();
    return whole;
  }

  #forgetUnits(): void {
    this.#starts = undefined;
    this.#units.clear();
    this.#chars = 0;
  }

  #unit(text: string): TokenisedText | undefined {
    const kept = this.#units.get(text);
    this.#units.delete(text);
    const found = kept ?? this.#whole(text);
    if (found === undefined) return undefined;
    this.#units.set(text, found);
    if (kept === undefined) this.#chars += text.length;
    this.#makeRoom();
    return found;
  }

  #makeRoom(): void {
    for (const text of this.#units.keys()) {
      if (this.#chars <= this.#charsMax || this.#units.size === 1) return;
      this.#units.delete(text);
      this.#chars -= text.length;
    }
  }

  #whole(text: string): TokenisedText | undefined {
    const { ids, tokens: strings } = this.#encoder.encode(text);
    const tokens = tokensOfStrings(text, ids, strings);
    if (tokens !== undefined) return { text, tokens };
    const written = this.#encoder.decode(ids);
    const found = tokensOfStrings(written, ids, strings);
    return found && { text: written, tokens: found };
  }
}
