/** SCAN's words. The walk itself is `key-walks.ts`'s. */
import type { Caller } from './commands.ts';
import { type Glob, globOf } from './glob.ts';
import { array, failure, type Reply, text } from './reply.ts';

const countDefault = 10;
const countMax = 10_000;
/** Of the bytes of a command, and of the keys' characters that a pattern is held against: two milliseconds at worst. */
const patternBytesMax = 256;
const charLooksMax = 262_144;

const syntax = failure('ERR syntax error');
const longPattern = failure(`ERR a pattern has ${patternBytesMax} bytes at most`);
const givenUp = failure('ERR the walk of this cursor was given up for newer ones; begin anew with cursor 0');

interface Options {
  readonly count: number;
  readonly glob: Glob | undefined;
  readonly isString: boolean;
}

const optionsOf = (words: readonly Buffer[]): Options | Reply => {
  let count = countDefault;
  let glob: Glob | undefined;
  let isString = true;
  for (let place = 0; place < words.length; place += 2) {
    const name = words[place]?.toString('latin1').toUpperCase();
    const value = words[place + 1]?.toString('latin1');
    if (value === undefined) return syntax;
    if (name === 'COUNT' && /^[1-9]\d{0,8}$/.test(value)) count = Math.min(countMax, Number(value));
    else if (name === 'MATCH' && value.length > patternBytesMax) return longPattern;
    else if (name === 'MATCH') glob = globOf(value);
    else if (name !== 'TYPE') return syntax;
    else isString = value === 'string';
  }
  return { count, glob, isString };
};

export const scan = (
  [, cursor, ...words]: readonly Buffer[],
  { walks, prefixOf, session }: Caller,
): Reply => {
  const digits = cursor?.toString('latin1') ?? '';
  const options = optionsOf(words);
  if (!/^\d{1,15}$/.test(digits)) return failure('ERR invalid cursor');
  if ('kind' in options) return options;
  const prefix = prefixOf(session.database);
  const { count, glob, isString } = options;
  const step = walks.step({
    ...{ prefix, cursor: Number(digits), looksMax: count, countMax: count },
    isAsked: (key) => isString && glob?.isOf(key) !== false,
    isTired: () => (glob?.looks ?? 0) > charLooksMax,
  });
  if (step === undefined) return givenUp;
  const found = step.keys.map((key): Reply => {
    return { kind: 'bulk', bytes: Buffer.from(key.slice(prefix.length), 'latin1') };
  });
  return array([text(String(step.cursor)), array(found)]);
};
