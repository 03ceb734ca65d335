/**
 * GPT-2's alphabet: each byte has one printable character, so that a byte-level vocabulary is plain text.
 * Printable Latin-1 bytes stand for themselves; the others take the characters from U+0100 on, in order.
 * Used by the writer of the toy's vocabulary and by the reader of every byte-level model's pieces.
 */

function standsForItself(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

function build(): { characters: string[]; bytes: Map<string, number> } {
  const characters: string[] = [];
  const bytes = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const character = String.fromCodePoint(standsForItself(byte) ? byte : next++);
    characters.push(character);
    bytes.set(character, byte);
  }
  return { characters, bytes };
}

const alphabet = build();

/** The character of each byte, indexed by byte. */
export const byteCharacters: readonly string[] = alphabet.characters;

/** Text in GPT-2's alphabet, for example ` the` -> `Ġthe`. */
export function toByteAlphabet(text: string): string {
  let result = '';
  for (const byte of Buffer.from(text, 'utf8')) result += byteCharacters[byte];
  return result;
}

/** The bytes that a piece in GPT-2's alphabet stands for; `undefined` if some character is not in it. */
export function fromByteAlphabet(piece: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const character of piece) {
    const byte = alphabet.bytes.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
