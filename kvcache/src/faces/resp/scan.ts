/** SCAN's words. The walk itself is `key-walks.ts`'s. */
import type { Caller } from './commands.ts';
import { globOf } from './glob.ts';
import { array, failure, type Reply, text } from './reply.ts';

const countDefault = 10;
const countMax = 10_000;

const optionsOf = (
  words: readonly Buffer[],
): { count: number; isAsked: (key: string) => boolean } | undefined => {
  let count = countDefault;
  let isAsked = (_: string): boolean => true;
  for (let place = 0; place < words.length; place += 2) {
    const name = words[place]?.toString('latin1').toUpperCase();
    const value = words[place + 1]?.toString('latin1');
    if (value === undefined) return undefined;
    if (name === 'COUNT' && /^[1-9]\d{0,8}$/.test(value)) count = Math.min(countMax, Number(value));
    else if (name === 'MATCH') isAsked = globOf(value);
    else if (name !== 'TYPE') return undefined;
    else if (value !== 'string') isAsked = () => false;
  }
  return { count, isAsked };
};

export const scan = (
  [, cursor, ...words]: readonly Buffer[],
  { walks, prefixOf, session }: Caller,
): Reply => {
  const digits = cursor?.toString('latin1') ?? '';
  const options = optionsOf(words);
  if (!/^\d{1,15}$/.test(digits)) return failure('ERR invalid cursor');
  if (options === undefined) return failure('ERR syntax error');
  const prefix = prefixOf(session.database);
  const { count, isAsked } = options;
  const step = walks.step({ prefix, cursor: Number(digits), looksMax: count, countMax: count, isAsked });
  const found = step.keys.map((key): Reply => {
    return { kind: 'bulk', bytes: Buffer.from(key.slice(prefix.length), 'latin1') };
  });
  return array([text(String(step.cursor)), array(found)]);
};
