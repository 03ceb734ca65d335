/**
 * The toy's vocabulary: 256 bytes, common English words as left-anchored merges, a few letter pairs, and
 * ChatML's special tokens. Only whole words and simple punctuation may come out of the model, so that its
 * nonsense is at least made of words and always valid UTF-8.
 */
import { byteCharacters, toByteAlphabet } from './byte-alphabet.ts';

const words = (
  'the of and a to in is you that it he was for on are as with his they at be this have from or one had by ' +
  'word but not what all were we when your can said there use an each which she do how their if will up ' +
  'other about out many then them these so some her would make like him into time has look two more write ' +
  'go see number no way could people my than first water been call who oil its now find long down day did ' +
  'get come made may part over new sound take only little work know place year live me back give most very ' +
  'after thing our just name good sentence man think say great where help through much before line right ' +
  'too mean old any same tell boy follow came want show also around form three small set put end does ' +
  'another well large must big even such because turn here why ask went men read need land different home ' +
  'us move try kind hand picture again change off play spell air away animal house point page letter ' +
  'mother answer found study still learn should world river light under story night cache prefix token node'
).split(' ');

const pairs = 'in er on an re ed ou es st en at or ar al it le ve se ll th ch sh'.split(' ');

/** What each output row of the model is biased towards; `tiny.ts` turns it into weights. */
export type OutputKind = 'word' | 'comma' | 'quote' | 'bracket' | 'end' | 'never';

export interface TinyVocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly merges: readonly string[];
  readonly outputs: readonly OutputKind[];
  readonly startToken: number;
  readonly endToken: number;
}

const tokenTypeNormal = 1;
const tokenTypeControl = 3;

/** Left-anchored merges: ` the` is `Ġ t`, `Ġt h`, `Ġth e`; shared beginnings are shared tokens. */
function addMerges(spelling: string, tokens: Map<string, OutputKind>, merges: Set<string>): void {
  let prefix = spelling.slice(0, 1);
  for (const character of spelling.slice(1)) {
    merges.add(`${prefix} ${character}`);
    prefix += character;
    if (!tokens.has(prefix)) tokens.set(prefix, 'never');
  }
}

function outputOfByte(byte: number): OutputKind {
  const character = String.fromCharCode(byte);
  if (',.\n'.includes(character)) return 'comma';
  if (character === '"') return 'quote';
  if ('{}[]:0123456789'.includes(character)) return 'bracket';
  return 'never';
}

/** The same vocabulary on every call. */
export function tinyVocabulary(): TinyVocabulary {
  const tokens = new Map<string, OutputKind>();
  const merges = new Set<string>();
  for (const [byte, character] of byteCharacters.entries()) tokens.set(character, outputOfByte(byte));
  for (const word of words) {
    const spelling = toByteAlphabet(` ${word}`);
    addMerges(spelling, tokens, merges);
    tokens.set(spelling, 'word');
  }
  for (const pair of pairs) addMerges(pair, tokens, merges);
  const specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;
  for (const special of specials) tokens.set(special, special === '<|im_end|>' ? 'end' : 'never');
  const names = [...tokens.keys()];
  return {
    tokens: names,
    types: names.map((name) =>
      specials.some((special) => special === name) ? tokenTypeControl : tokenTypeNormal,
    ),
    merges: [...merges],
    outputs: [...tokens.values()],
    startToken: names.indexOf('<|endoftext|>'),
    endToken: names.indexOf('<|im_end|>'),
  };
}
