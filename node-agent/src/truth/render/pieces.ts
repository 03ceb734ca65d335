/** Where the tokens of a prompt end in its text, from the pieces of text that they stand for. Pure. */

export interface PromptTokens {
  readonly ids: readonly number[];
  /** For each token the character (UTF-16 unit) that it ends before; one cut by it is not counted. */
  readonly ends: Int32Array;
}

export interface TokenPiece {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** Characters that each number of bytes holds whole. */
const charactersAt = (text: string, bytes: number): Int32Array => {
  const characters = new Int32Array(bytes + 1);
  let at = 0;
  let units = 0;
  for (const character of text) {
    const size = Buffer.byteLength(character);
    characters.fill(units, at, at + size);
    at += size;
    units += character.length;
  }
  characters.fill(units, at);
  return characters;
};

/** Undefined when the pieces do not make the text: then nobody knows where a token stands. */
export const tokensOfPieces = (text: string, pieces: readonly TokenPiece[]): PromptTokens | undefined => {
  const whole = Buffer.from(text);
  const joined = Buffer.concat(pieces.map(({ bytes }) => bytes));
  const lead = joined.length - whole.length;
  // Some tokenizers put a token that begins a text before it, which the text does not show.
  const isLed = lead > 0 && pieces[0]?.bytes.length === lead && whole.equals(joined.subarray(lead));
  if (!isLed && !whole.equals(joined)) return undefined;
  const characters = charactersAt(text, whole.length);
  let at = isLed ? -lead : 0;
  const ends = pieces.map(({ bytes }) => {
    at += bytes.length;
    return characters[at] ?? 0;
  });
  return { ids: pieces.map(({ id }) => id), ends: Int32Array.from(ends) };
};
