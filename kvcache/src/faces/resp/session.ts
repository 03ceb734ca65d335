/**
 * One connection of a Redis client: its requests in order, each answered before the next is read, so that what a client
 * sends ahead waits in its socket and not here. Long values go from the kernel into the store's memory and back without
 * another copy. Owns what of the store a connection holds: all of it is given back when it ends, however that is.
 */
import type { Socket } from 'node:net';
import { messageOf } from '@cognitora/protocol/errors';
import type { HeldValue, NewValue } from '../../store.ts';
import { valueBytesMax } from '../../store.ts';
import { valueAt } from '../../tiers/ram/extents.ts';
import { type Caller, type Command, commands, keyOf, noRoom, tooLarge } from './commands.ts';
import type { DirectReader } from './direct-socket.ts';
import { ProtocolError, RespParser } from './parser.ts';
import { encodedIn, failure, type Pieces, type Reply, type Version, writeReply } from './reply.ts';

/** Of a string that is no value: a key, a word, an ECHO. */
const wordBytesMax = 64 * 1024;
/** Of one command: an MSET or MGET of as many keys as a client of ours asks at once. */
const wordsMax = 4_096;
/** Of its words that are no values: 256 bytes a key. */
const commandBytesMax = 2 ** 20;
/** Before the password, as Redis has it: a HELLO with AUTH and SETNAME has seven. */
const wordsMaxOutside = 10;
const commandBytesMaxOutside = 16 * 1024;
/** So much may wait in a socket that its client does not read, before nothing more of it is answered. */
const unreadBytesMax = 2 ** 20;

/** In the middle of a request or of an answer without a byte. */
const stalledMsMax = 30_000;
/** To the password: who does not tell it keeps others from connecting. */
const loginMsMax = 5_000;

/** Of one connection's commands before the others have their turn: 128 GETs, half a millisecond. */
const turnWordsMax = 256;
/** Of words, asked for at a time from what all connections may keep. */
const keptAtOnce = 128 * 1024;
const tooManyWords = failure('OOM all clients together have sent as many words as are kept; try again later');

const nothing = Buffer.alloc(0);

export type SessionOptions = Omit<Caller, 'session' | 'written' | 'hold'> & {
  readonly id: number;
  readonly onError: (thrown: unknown) => void;
};

export class RespSession implements DirectReader {
  readonly #socket: Socket;
  readonly #caller: Caller;
  readonly #parser: RespParser;
  readonly #onError: (thrown: unknown) => void;
  /** Values of the command that is being read, by their place. */
  readonly #written = new Map<number, NewValue>();
  /** Why its values are not kept. */
  #refusal: Reply | undefined;
  /** Held for replies that are not sent yet. */
  readonly #held = new Set<HeldValue>();
  #left: Buffer = nothing;
  #isReading = true;
  #isBusy = false;
  /** Until the others had their turn. */
  #isResting = false;
  #turnWords = 0;
  /** What gives back the room of its words, and for how many bytes it is. */
  readonly #keptRooms: (() => void)[] = [];
  /** Of who waits until the client has read. */
  #onRead: (() => void) | undefined;

  constructor(socket: Socket, { id, onError, ...options }: SessionOptions) {
    this.#socket = socket;
    this.#onError = onError;
    const isIn = options.password === undefined;
    const session = { protocol: 2 as const, database: 0, isIn, id, isOver: false };
    const hold = (value: HeldValue): Buffer => {
      this.#held.add(value);
      return encodedIn(value.pages, value.bytes.length);
    };
    this.#caller = { ...options, session, written: this.#written, hold };
    this.#parser = new RespParser({
      wordsMax: () => (session.isIn ? wordsMax : wordsMaxOutside),
      onBulk: (words, bytes, keptBytes) => this.#roomFor(words, bytes, keptBytes),
      onCommand: (words) => this.#run(words),
    });
    socket.on('drain', () => {
      this.#onRead?.();
      this.#goOn();
    });
    socket.on('error', () => socket.destroy());
    const login = isIn ? undefined : setTimeout(() => session.isIn || socket.destroy(), loginMsMax).unref();
    socket.on('close', () => {
      clearTimeout(login);
      this.#onRead?.();
      this.#abort();
      this.#forgetWords();
    });
    socket.setTimeout(stalledMsMax, () => {
      // Between commands a client may rest as long as it likes; within one it holds memory that others need.
      const { isOver } = this.#caller.session;
      if (isOver || this.#parser.isWithin || socket.writableLength > 0) socket.destroy();
    });
  }

  /** Of a value that is being written: its memory is given back by what is read behind it, or by the end. */
  target(): Buffer | undefined {
    return this.#left.length === 0 ? this.#parser.target : undefined;
  }

  onTaken(bytes: number): void {
    this.#turnWords = 0;
    if (this.#parser.took(bytes)) this.#goOn();
  }

  onBytes(bytes: Buffer): void {
    this.#turnWords = 0;
    this.#goOn(bytes);
  }

  /** Reads what is there until a command has to wait; a socket whose commands wait is not read from. */
  #goOn(more: Buffer = nothing): void {
    if (this.#caller.session.isOver || this.#socket.destroyed) return;
    const isOwn = more.length === 0;
    const bytes = isOwn ? this.#left : this.#left.length === 0 ? more : Buffer.concat([this.#left, more]);
    // What more came is gone when this returns.
    const kept = (left: Buffer): Buffer => (left.length === 0 ? nothing : isOwn ? left : Buffer.from(left));
    if (!this.#mayGoOn()) {
      this.#left = kept(bytes);
      return;
    }
    this.#left = nothing;
    this.#socket.cork();
    try {
      this.#left = kept(this.#parser.push(bytes, this.#isOnTurn));
    } catch (thrown) {
      if (!(thrown instanceof ProtocolError)) throw thrown;
      this.#reply(failure(`ERR Protocol error: ${thrown.message}`));
      this.#caller.session.isOver = true;
    } finally {
      this.#socket.uncork();
    }
    if (this.#caller.session.isOver) {
      this.#left = nothing;
      this.#socket.end();
      return;
    }
    if (this.#left.length > 0 && this.#mayGoOn()) this.#rest();
    if (this.#mayGoOn() !== this.#isReading) {
      this.#isReading = !this.#isReading;
      if (this.#isReading) this.#socket.resume();
      else this.#socket.pause();
    }
  }

  /** Until all others that have something to say said some of it. */
  #rest(): void {
    this.#isResting = true;
    void this.#othersTurn().then(() => {
      this.#isResting = false;
      this.#goOn();
    });
  }

  async #othersTurn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#turnWords = 0;
  }

  #mayGoOn(): boolean {
    const isWaiting = this.#isBusy || this.#isResting || this.#caller.session.isOver;
    return !isWaiting && this.#socket.writableLength <= unreadBytesMax;
  }

  readonly #isOnTurn = (): boolean => this.#turnWords < turnWordsMax && this.#mayGoOn();

  #roomFor(words: readonly Buffer[], bytes: number, keptBytes: number): Buffer | 'keep' | 'skip' {
    const command = commands.get(nameOf(words));
    const { session, store } = this.#caller;
    if (command?.isValue?.(words.length) !== true) {
      const max = session.isIn ? commandBytesMax : commandBytesMaxOutside;
      const isFitting = bytes <= wordBytesMax && keptBytes + bytes <= max;
      if (isFitting && this.#keepWords(keptBytes + bytes)) return 'keep';
      if (isFitting) this.#refusal ??= tooManyWords;
      this.#refusal ??=
        bytes > wordBytesMax
          ? failure(`ERR a word of ${bytes} bytes, where ${wordBytesMax} are the most`)
          : failure(`ERR words of more than ${max} bytes in one command`);
      return 'skip';
    }
    if (!session.isIn || this.#refusal !== undefined) return 'skip';
    const key = keyOf(words.at(-1), this.#caller);
    if (bytes > valueBytesMax) this.#refusal = tooLarge(valueBytesMax);
    else {
      try {
        const room = store.receive(key, bytes, this.#socket);
        if (room !== undefined) {
          this.#written.set(words.length, room);
          return room.pages.subarray(valueAt);
        }
        this.#refusal = noRoom;
      } catch (thrown) {
        this.#refusal = failure(`ERR ${messageOf(thrown)}`);
      }
    }
    return 'skip';
  }

  /** Whether it may keep so many bytes of the command's words. */
  #keepWords(bytes: number): boolean {
    while (bytes > this.#keptRooms.length * keptAtOnce) {
      const giveBack = this.#caller.store.incoming.keepWords(keptAtOnce, this.#socket);
      if (giveBack === undefined) return false;
      this.#keptRooms.push(giveBack);
    }
    return true;
  }

  #forgetWords(): void {
    for (const giveBack of this.#keptRooms.splice(0)) giveBack();
  }

  #run(words: readonly Buffer[]): void {
    this.#turnWords += words.length;
    const answer = this.#refusal ?? this.#answer(words);
    if (this.#refusal !== undefined) this.#abort();
    this.#written.clear();
    this.#refusal = undefined;
    if (answer instanceof Promise) void this.#wait(answer);
    else if (answer.kind === 'pieces') void this.#tell(answer);
    else {
      this.#reply(answer);
      if (this.#keptRooms.length > 0) this.#forgetWords();
    }
  }

  /** Each piece is held until it is sent, and the next is made when the client has read. Never rejects. */
  async #tell({ length, next }: Pieces): Promise<void> {
    this.#isBusy = true;
    try {
      this.#write([`*${length}\r\n`]);
      for (let items = await next(); items !== undefined; items = await next()) {
        this.#write(piecesOf(items, this.#caller.session.protocol));
        await this.#untilRead();
        if (this.#socket.destroyed) break;
        if (this.#turnWords >= turnWordsMax) await this.#othersTurn();
        this.#turnWords += items.length;
      }
    } catch (thrown) {
      // Of an array that is begun no error can be told.
      this.#onError(thrown);
      this.#socket.destroy();
      this.#write([]);
    }
    this.#isBusy = false;
    this.#next();
  }

  async #untilRead(): Promise<void> {
    while (!this.#socket.destroyed && this.#socket.writableLength > unreadBytesMax)
      await new Promise<void>((resolve) => {
        this.#onRead = resolve;
      });
    this.#onRead = undefined;
  }

  /** For the disk. Never rejects. */
  async #wait(answer: Promise<Reply>): Promise<void> {
    this.#isBusy = true;
    const reply = await answer.catch((thrown: unknown) => this.#failed(thrown));
    this.#isBusy = false;
    this.#reply(reply);
    this.#next();
  }

  /** Behind a command that was waited for, which may have been for none but itself. */
  #next(): void {
    this.#forgetWords();
    if (this.#turnWords < turnWordsMax) this.#goOn();
    else this.#rest();
  }

  #answer(words: readonly Buffer[]): Reply | Promise<Reply> | Pieces {
    const name = nameOf(words);
    const command = commands.get(name);
    if (command?.isLong === true) this.#turnWords = turnWordsMax;
    const complaint = this.#complaintOf(name, command, words);
    if (complaint !== undefined || command === undefined) {
      this.#abort();
      return failure(complaint ?? 'ERR');
    }
    try {
      return command.run(words, this.#caller);
    } catch (thrown) {
      this.#abort();
      return this.#failed(thrown);
    }
  }

  #complaintOf(name: string, command: Command | undefined, words: readonly Buffer[]): string | undefined {
    if (command === undefined)
      return `ERR unknown command '${printableOf(name)}'; this store keeps KV blocks by GET and SET`;
    if (!this.#caller.session.isIn && command.isFree !== true) return 'NOAUTH Authentication required.';
    const { arity } = command;
    const isFitting = arity < 0 ? words.length >= -arity : words.length === arity;
    return isFitting ? undefined : `ERR wrong number of arguments for '${name.toLowerCase()}' command`;
  }

  /** A key beyond its bound is the client's mistake; all else is ours, and is told. */
  #failed(thrown: unknown): Reply {
    if (!(thrown instanceof RangeError)) this.#onError(thrown);
    return failure(`ERR ${messageOf(thrown)}`);
  }

  #reply(reply: Reply): void {
    this.#write(piecesOf([reply], this.#caller.session.protocol));
  }

  /** What is held now is given back when these are sent. */
  #write(pieces: readonly (string | Buffer)[]): void {
    const held = [...this.#held];
    this.#held.clear();
    const release = (): void => {
      for (const value of held) value.release();
    };
    if (this.#socket.destroyed || !this.#socket.writable) {
      release();
      return;
    }
    this.#socket.cork();
    for (const piece of pieces.slice(0, -1)) this.#socket.write(piece);
    // Called also when the socket is gone: then nobody reads the bytes any more either.
    this.#socket.write(pieces.at(-1) ?? '', release);
    this.#socket.uncork();
  }

  #abort(): void {
    for (const room of this.#written.values()) room.abort();
    this.#written.clear();
  }
}

const piecesOf = (replies: readonly Reply[], version: Version): readonly (string | Buffer)[] => {
  const pieces: (string | Buffer)[] = [];
  for (const reply of replies) writeReply(reply, version, (piece) => pieces.push(piece));
  return pieces;
};

const nameOf = ([word]: readonly Buffer[]): string => word?.toString('latin1').toUpperCase() ?? '';

const printableOf = (name: string): string => name.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
