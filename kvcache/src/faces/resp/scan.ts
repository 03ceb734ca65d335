/**
 * SCAN: a walk over all keys in pieces. A cursor is a number that stands for a walk under way, of which there are few
 * and short-lived: the oldest is given up for a new one, and its client begins anew, as it must when a server restarts.
 * A key that stays is told at least once; one may be told twice.
 */
import type { Caller } from './commands.ts';
import { globOf } from './glob.ts';
import { array, failure, type Reply, text } from './reply.ts';

const walksMax = 64;
const countDefault = 10;
const countMax = 10_000;

interface Walk {
  readonly database: number;
  readonly keys: Iterator<string>;
}

const walks = new Map<number, Walk>();
let latest = 0;

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

export const scan = ([, cursor, ...words]: readonly Buffer[], { store, session }: Caller): Reply => {
  const digits = cursor?.toString('latin1') ?? '';
  const options = optionsOf(words);
  if (!/^\d{1,15}$/.test(digits)) return failure('ERR invalid cursor');
  if (options === undefined) return failure('ERR syntax error');
  const known = walks.get(Number(digits));
  walks.delete(Number(digits));
  const isGone = digits !== '0' && known?.database !== session.database;
  const walk = known ?? { database: session.database, keys: store.keys() };
  const found: Reply[] = [];
  const prefix = `${session.database}:`;
  let next = isGone ? { done: true as const, value: undefined } : undefined;
  for (let seen = 0; seen < options.count && next?.done !== true; seen += 1) {
    const step = walk.keys.next();
    if (step.done === true) next = { done: true, value: undefined };
    else if (step.value.startsWith(prefix) && options.isAsked(step.value.slice(prefix.length))) {
      found.push({ kind: 'bulk', bytes: Buffer.from(step.value.slice(prefix.length), 'latin1') });
    }
  }
  if (next?.done === true) return array([text('0'), array(found)]);
  latest += 1;
  walks.set(latest, walk);
  for (const oldest of walks.keys()) {
    if (walks.size <= walksMax) break;
    walks.delete(oldest);
  }
  return array([text(String(latest)), array(found)]);
};
