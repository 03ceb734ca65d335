/**
 * What each command of the Redis protocol does with the store: the table of those that are known, with how many words
 * they take. A value that is written lies in the store's memory already when its command runs (`session.ts`). Knows no
 * socket. Beside the names of Redis, its words of error, since clients look at the first of them.
 */
import type { KeyWalks } from '../../key-walks.ts';
import type { HeldValue, KvStore, NewValue } from '../../store.ts';
import { array, failure, integer, none, ok, type Pieces, type Reply, text, type Version } from './reply.ts';
import { scan } from './scan.ts';

export interface Caller {
  readonly store: KvStore;
  readonly walks: KeyWalks;
  /** What stands before each key of a database: its namespace and a colon. */
  readonly prefixOf: (database: number) => string;
  readonly nowMs: () => number;
  /** Undefined: whoever reaches the socket may do all. */
  readonly password: Buffer | undefined;
  readonly isPassword: (given: Buffer) => boolean;
  readonly version: string;
  readonly startedAtMs: number;
  readonly clients: () => number;
  /** Of this connection; commands change it. */
  readonly session: {
    protocol: Version;
    database: number;
    isIn: boolean;
    readonly id: number;
    isOver: boolean;
  };
  /** What the last command's long values were written into, by their place among its words. */
  readonly written: ReadonlyMap<number, NewValue>;
  /** As a bulk string of the protocol. It is released when the reply is sent. */
  readonly hold: (value: HeldValue) => Buffer;
}

type Answer = Reply | Promise<Reply>;

export interface Command {
  /** Words with the name; a negative number is the least. As `COMMAND` tells it. */
  readonly arity: number;
  readonly isRead: boolean;
  /** Before a password was given. */
  readonly isFree?: boolean;
  /** Words that are values to be stored, by their place. */
  readonly isValue?: (place: number) => boolean;
  /** Takes a millisecond or so, however few words it has. */
  readonly isLong?: boolean;
  readonly run: (words: readonly Buffer[], caller: Caller) => Answer | Pieces;
}

/** As Redis has by default. */
export const databasesMax = 16;

const syntax = failure('ERR syntax error');
const notInteger = failure('ERR value is not an integer or out of range');
const invalidTime = failure("ERR invalid expire time in 'set' command");
export const tooLarge = (bytesMax: number): Reply =>
  failure(`ERR a value has ${bytesMax} bytes at most here; store it in smaller chunks`);
export const noRoom = failure(
  'OOM no room for the value, and all that is here is read, being written, pinned or not on the disk yet; ' +
    'try again later',
);

/** Keys of one database stand apart from those of the others. */
export const keyOf = (word: Buffer | undefined, { session, prefixOf }: Caller): string =>
  prefixOf(session.database) + (word?.toString('latin1') ?? '');

const integerIn = (word: Buffer | undefined): number | undefined => {
  const digits = word?.toString('latin1') ?? '';
  return /^-?\d{1,15}$/.test(digits) ? Number(digits) : undefined;
};

/** The value, where it was written already, or copied there now. */
const store = (place: number, key: string, value: Buffer, caller: Caller): NewValue | undefined => {
  const written = caller.written.get(place);
  if (written !== undefined) return written;
  const room = caller.store.reserve(key, value.length);
  room?.bytes.set(value);
  return room;
};

const replyOf = (held: HeldValue | undefined, { hold }: Caller): Reply =>
  held === undefined ? none : { kind: 'encoded', bytes: hold(held) };

const read = (key: Buffer | undefined, caller: Caller): Answer => {
  const held = caller.store.get(keyOf(key, caller));
  return held instanceof Promise ? held.then((value) => replyOf(value, caller)) : replyOf(held, caller);
};

interface SetOptions {
  readonly expiresAtMs: number | undefined;
  readonly only: 'absent' | 'present' | undefined;
}

/** `EX 10`, `PX 10`, `EXAT`, `PXAT`, `NX`, `XX`; else what is wrong. */
const setOptions = (words: readonly Buffer[], nowMs: number): SetOptions | Reply => {
  let expiresAtMs: number | undefined;
  let only: 'absent' | 'present' | undefined;
  for (let place = 0; place < words.length; place += 1) {
    const name = words[place]?.toString('latin1').toUpperCase() ?? '';
    const amount = words[place + 1];
    if ((name === 'NX' || name === 'XX') && only === undefined) {
      only = name === 'NX' ? 'absent' : 'present';
    } else if (Object.hasOwn(timeUnits, name) && expiresAtMs === undefined && amount !== undefined) {
      const units = integerIn(amount);
      if (units === undefined) return notInteger;
      if (units <= 0) return invalidTime;
      expiresAtMs = timeUnits[name as keyof typeof timeUnits](units, nowMs);
      place += 1;
    } else {
      return syntax;
    }
  }
  return { expiresAtMs, only };
};

const timeUnits = {
  EX: (amount: number, nowMs: number) => nowMs + amount * 1_000,
  PX: (amount: number, nowMs: number) => nowMs + amount,
  EXAT: (amount: number) => amount * 1_000,
  PXAT: (amount: number) => amount,
} as const;

const set: Command['run'] = ([, word, value, ...options], caller) => {
  const asked = setOptions(options, caller.nowMs());
  const key = keyOf(word, caller);
  const isWrong = 'kind' in asked;
  if (isWrong || (asked.only !== undefined && caller.store.has(key) !== (asked.only === 'present'))) {
    caller.written.get(2)?.abort();
    return isWrong ? asked : none;
  }
  const room = store(2, key, value ?? Buffer.alloc(0), caller);
  if (room === undefined) return noRoom;
  room.commit({ expiresAtMs: asked.expiresAtMs });
  return ok;
};

/** All or none, as Redis has it, and of a key that is named twice the last value. */
const mset: Command['run'] = (words, caller) => {
  const inHand = new Set(caller.written.values());
  const rooms: NewValue[] = [];
  const isOdd = words.length % 2 === 0;
  let isWhole = false;
  try {
    for (let place = 2; place < words.length && !isOdd; place += 2) {
      const room = store(place, keyOf(words[place - 1], caller), words[place] ?? Buffer.alloc(0), caller);
      if (room === undefined) break;
      rooms.push(room);
    }
    isWhole = rooms.length === (words.length - 1) / 2;
  } finally {
    // Those that the session wrote are its own to give back where this throws.
    if (!isWhole) for (const room of rooms) if (!inHand.has(room)) room.abort();
  }
  if (isWhole) for (const room of rooms) room.commit();
  else for (const room of inHand) room.abort();
  if (isWhole) return ok;
  return isOdd ? failure("ERR wrong number of arguments for 'mset' command") : noRoom;
};

const count = (words: readonly Buffer[], does: (key: string) => boolean, caller: Caller): Reply =>
  integer(words.slice(1).filter((word) => does(keyOf(word, caller))).length);

/** Where peers must be asked, of all keys at once. */
const exists: Command['run'] = (words, caller) => {
  const found = words.slice(1).map((word) => caller.store.exists(keyOf(word, caller)));
  const sum = (all: readonly boolean[]): Reply => integer(all.filter((isThere) => isThere).length);
  const isHere = (one: boolean | Promise<boolean>): one is boolean => typeof one === 'boolean';
  return found.every(isHere) ? sum(found) : Promise.all(found).then(sum);
};

const del: Command['run'] = (words, caller) => count(words, (key) => caller.store.delete(key), caller);

const timeLeft =
  (unitMs: number): Command['run'] =>
  ([, key], caller) => {
    const expiresAtMs = caller.store.expiresAtMs(keyOf(key, caller));
    if (expiresAtMs === undefined) return integer(-2);
    if (expiresAtMs === null) return integer(-1);
    return integer(Math.max(0, Math.ceil((expiresAtMs - caller.nowMs()) / unitMs)));
  };

const expire =
  (unitMs: number): Command['run'] =>
  ([, word, amount], caller) => {
    const units = integerIn(amount);
    if (units === undefined) return notInteger;
    const key = keyOf(word, caller);
    if (units <= 0) return integer(caller.store.delete(key) ? 1 : 0);
    return integer(caller.store.expire(key, caller.nowMs() + units * unitMs) ? 1 : 0);
  };

const hello: Command['run'] = ([, version, ...options], caller) => {
  const { session } = caller;
  const asked = version === undefined ? session.protocol : integerIn(version);
  if (asked !== 2 && asked !== 3) return failure('NOPROTO unsupported protocol version');
  for (let place = 0; place < options.length; place += 1) {
    const name = options[place]?.toString('latin1').toUpperCase();
    if (name === 'AUTH' && options.length > place + 2) {
      const answer = auth([Buffer.from('AUTH'), ...options.slice(place + 1, place + 3)], caller);
      if (!(answer instanceof Promise) && answer.kind === 'error') return answer;
      place += 2;
    } else if (name === 'SETNAME' && options.length > place + 1) place += 1;
    else return syntax;
  }
  if (!session.isIn)
    return failure('NOAUTH HELLO must be called with the client already authenticated, or with AUTH');
  session.protocol = asked;
  const facts: readonly [string, Reply][] = [
    ['server', text('redis')],
    ['version', text(caller.version)],
    ['proto', integer(asked)],
    ['id', integer(session.id)],
    ['mode', text('standalone')],
    ['role', text('master')],
    ['modules', array([])],
  ];
  return { kind: 'map', items: facts.flatMap(([name, value]) => [text(name), value]) };
};

const withoutPassword = failure(
  'ERR AUTH <password> called without any password configured for the default user. ' +
    'Are you sure your configuration is correct?',
);

const auth: Command['run'] = (words, caller) => {
  if (words.length > 3) return syntax;
  const isOpen = caller.password === undefined;
  if (isOpen && words.length === 2) return withoutPassword;
  const [user, given] = words.length === 3 ? [words[1]?.toString(), words[2]] : ['default', words[1]];
  // Without a password of ours the user that Redis has may give any.
  if (user !== 'default' || given === undefined || !(isOpen || caller.isPassword(given))) {
    return failure('WRONGPASS invalid username-password pair or user is disabled.');
  }
  caller.session.isIn = true;
  return ok;
};

const client: Command['run'] = ([, word], { session }) => {
  switch (word?.toString('latin1').toUpperCase()) {
    case 'SETNAME':
    case 'SETINFO':
    case 'NO-EVICT':
    case 'NO-TOUCH':
      return ok;
    case 'GETNAME':
      return none;
    case 'ID':
      return integer(session.id);
    default:
      return failure('ERR unknown subcommand of CLIENT; known are SETNAME, SETINFO, GETNAME, ID');
  }
};

const select: Command['run'] = ([, word], { session }) => {
  const database = integerIn(word);
  if (database === undefined) return notInteger;
  if (database < 0 || database >= databasesMax) return failure('ERR DB index is out of range');
  session.database = database;
  return ok;
};

const info: Command['run'] = (_, { store: all, nowMs, startedAtMs, version, clients }) => {
  const { ram, ssd, counts } = all;
  const lines = [
    '# Server',
    `redis_version:${version}`,
    'redis_mode:standalone',
    `process_id:${process.pid}`,
    `uptime_in_seconds:${Math.floor((nowMs() - startedAtMs) / 1_000)}`,
    '# Clients',
    `connected_clients:${clients()}`,
    '# Memory',
    `used_memory:${ram.counts.bytes}`,
    `maxmemory:${ram.counts.bytesMax}`,
    'maxmemory_policy:s3-fifo',
    '# Stats',
    `keyspace_hits:${counts.ramHits + counts.ssdHits + counts.peerHits}`,
    `keyspace_misses:${counts.misses}`,
    `evicted_keys:${ram.counts.evictions}`,
    `refused_keys:${counts.refusals}`,
    '# Tiers',
    `memory_hits:${counts.ramHits}`,
    `disk_hits:${counts.ssdHits}`,
    `peer_hits:${counts.peerHits}`,
    '# Disk',
    `disk_bytes:${ssd?.counts.bytes ?? 0}`,
    `disk_bytes_max:${ssd?.counts.bytesMax ?? 0}`,
    `disk_keys:${ssd?.counts.values ?? 0}`,
    `disk_dirty_bytes:${ssd?.counts.dirtyBytes ?? 0}`,
    `disk_corrupt_keys:${ssd?.counts.corrupt ?? 0}`,
    `disk_errors:${ssd?.counts.errors ?? 0}`,
  ];
  return text(`${lines.join('\r\n')}\r\n`);
};

const describe = ([name, { arity, isRead }]: readonly [string, Command]): Reply =>
  array([
    text(name.toLowerCase()),
    integer(arity),
    array([text(isRead ? 'readonly' : 'write')]),
    ...[0, 0, 0].map(integer),
  ]);

const commandNames: Command['run'] = ([, word]) => {
  const all = [...commands];
  const asked = word?.toString('latin1').toUpperCase();
  if (asked === undefined) return array(all.map(describe));
  if (asked === 'COUNT') return integer(all.length);
  // Of documents and of details there are none: clients then show no hints.
  return array([]);
};

/** Keys of one MGET that are read side by side and held: peers answer for many in the time of one. */
const readsAtOnce = 64;
/** Of those that are on this host: a client that reads slowly keeps so much of memory from being evicted. */
const readBytesAtOnce = 16 * 2 ** 20;

const mget = (keys: readonly Buffer[], caller: Caller): Pieces => {
  let at = 0;
  const next = async (): Promise<readonly Reply[] | undefined> => {
    const from = at;
    for (let bytes = 0; at < keys.length && at - from < readsAtOnce; at += 1) {
      bytes += caller.store.lengthOf(keyOf(keys[at], caller)) ?? 0;
      if (at > from && bytes > readBytesAtOnce) break;
    }
    return at === from ? undefined : Promise.all(keys.slice(from, at).map((key) => read(key, caller)));
  };
  return { kind: 'pieces', length: keys.length, next };
};

const isSecond = (place: number): boolean => place === 2;
const isEverySecond = (place: number): boolean => place > 1 && place % 2 === 0;

const reading = (arity: number, run: Command['run']): Command => ({ arity, isRead: true, run });
const writing = (arity: number, run: Command['run']): Command => ({ arity, isRead: false, run });
const free = (arity: number, run: Command['run']): Command => ({ arity, isRead: true, isFree: true, run });

/** By name in capitals. */
export const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['GET', reading(2, ([, key], caller) => read(key, caller))],
  ['MGET', reading(-2, ([, ...keys], caller) => mget(keys, caller))],
  ['SET', { ...writing(-3, set), isValue: isSecond }],
  ['MSET', { ...writing(-3, mset), isValue: isEverySecond }],
  ['EXISTS', reading(-2, exists)],
  ['STRLEN', reading(2, ([, key], caller) => integer(caller.store.lengthOf(keyOf(key, caller)) ?? 0))],
  [
    'TYPE',
    reading(2, ([, key], caller) => ({
      kind: 'simple',
      text: caller.store.has(keyOf(key, caller)) ? 'string' : 'none',
    })),
  ],
  ['DEL', writing(-2, del)],
  ['UNLINK', writing(-2, del)],
  ['TTL', reading(2, timeLeft(1_000))],
  ['PTTL', reading(2, timeLeft(1))],
  ['EXPIRE', writing(3, expire(1_000))],
  ['PEXPIRE', writing(3, expire(1))],
  [
    'PERSIST',
    writing(2, ([, word], caller) => {
      const key = keyOf(word, caller);
      const isTimed = typeof caller.store.expiresAtMs(key) === 'number';
      return integer(isTimed && caller.store.expire(key, undefined) ? 1 : 0);
    }),
  ],
  ['SCAN', { ...reading(-2, scan), isLong: true }],
  [
    'DBSIZE',
    reading(1, (_, { store: all, prefixOf, session }) => integer(all.sizeOf(prefixOf(session.database)))),
  ],
  [
    'PING',
    reading(-1, ([, word]) =>
      word === undefined ? { kind: 'simple', text: 'PONG' } : { kind: 'bulk', bytes: word },
    ),
  ],
  ['ECHO', reading(2, ([, word]) => ({ kind: 'bulk', bytes: word ?? Buffer.alloc(0) }))],
  ['SELECT', reading(2, select)],
  ['CLIENT', reading(-2, client)],
  ['INFO', { ...reading(-1, info), isLong: true }],
  ['COMMAND', { ...reading(-1, commandNames), isLong: true }],
  // What `redis-benchmark` asks first; there is nothing to configure over a connection.
  [
    'CONFIG',
    reading(-2, ([, word]) =>
      word?.toString('latin1').toUpperCase() === 'GET'
        ? { kind: 'map', items: [] }
        : failure('ERR only CONFIG GET is known, and it has nothing to tell'),
    ),
  ],
  ['AUTH', free(-2, auth)],
  ['HELLO', free(-1, hello)],
  [
    'QUIT',
    free(-1, (_, { session }) => {
      session.isOver = true;
      return ok;
    }),
  ],
]);
