/**
 * What the chaos run's fake engines say: each word is a function of the prompt and of all text before it, so that an
 * answer that goes on elsewhere has the undisturbed text if and only if not a byte of it was lost, repeated, reordered
 * or mixed up on the way. Pure; nothing here knows of HTTP.
 */

export interface Message {
  readonly role: string;
  readonly content: string;
}

/** One word is one token. Each begins with the only space in it, so that a text is cut into words in one way. */
const words: readonly string[] = [
  ...['sea', 'wind', 'salt', 'harbour', 'gull', 'tide', 'rope', 'lantern', 'keel', 'mast', 'storm', 'quay'],
  ...['Grüße', 'Köln', 'Überfahrt', '海', '船が', '風', 'море', 'ветер', '👩‍🚀', '🚀', 'e\u0301', '\u200d'],
  ...[
    '"quoted"',
    "it's",
    'back\\slash',
    '{"a":1}',
    '[DONE]',
    'data:',
    '</s>',
    '\n\n',
    '\tcolumn',
    '0.5',
    '-',
    '.',
  ],
].map((word) => ` ${word}`);

/** Where a raw prompt ends and its answer begins: what comes behind it is part of the answer. */
export const answerMark = '\n=>';

const seed = 0x811c9dc5;

/** FNV-1a over UTF-8. */
const fold = (state: number, text: string): number => {
  let folded = state;
  for (const byte of Buffer.from(text)) folded = Math.imul(folded ^ byte, 0x01000193) >>> 0;
  return folded;
};

/** One text of a conversation, in which no message can pass for two. */
export const promptOf = (messages: readonly Message[]): string =>
  messages.map(({ role, content }) => `${role}\0${content}\0`).join('');

/** As many as `Say N words` in the prompt asks for. */
export const wordsAsked = (prompt: string): number => Number(/Say (\d+) words/.exec(prompt)?.[1] ?? 16);

export const countWords = (text: string): number => text.split(' ').length - 1;

/** Says the words of an answer, one by one, from where `emitted` ends. */
export class Speaker {
  #state: number;
  #left: number;

  constructor(prompt: string, emitted = '') {
    this.#state = fold(fold(seed, prompt), emitted);
    this.#left = wordsAsked(prompt) - countWords(emitted);
  }

  /** Undefined: the answer ends here. */
  next(): string | undefined {
    if (this.#left <= 0) return undefined;
    this.#left -= 1;
    // The lowest bits of this hash are its worst.
    const word = words[(this.#state >>> 7) % words.length] ?? '';
    this.#state = fold(this.#state, word);
    return word;
  }
}

export interface Answer {
  readonly text: string;
  readonly words: number;
  readonly finishReason: 'stop' | 'length';
}

/** The whole answer, as an engine gives it that nothing disturbs. */
export const answerTo = (prompt: string, wordsMax = Number.POSITIVE_INFINITY): Answer => {
  const speaker = new Speaker(prompt);
  let text = '';
  for (let said = 0; said < wordsMax; said += 1) {
    const word = speaker.next();
    if (word === undefined) return { text, words: said, finishReason: 'stop' };
    text += word;
  }
  return { text, words: wordsMax, finishReason: 'length' };
};

/** Tokens of a prompt, which add up: those of a prompt with part of its answer are the sum of both. */
export const tokensOf = (prompt: string, emitted = ''): number =>
  Math.ceil(Buffer.byteLength(prompt) / 4) + countWords(emitted);
