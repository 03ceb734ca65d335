import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CommandSink, ProtocolError, RespParser } from './parser.ts';

const wire = (...words: (string | Buffer)[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => {
      const bytes = Buffer.from(word as string);
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')];
    }),
  ]);

const wordsMax = (): number => 4_096;

const readAll = (pieces: readonly Buffer[], onBulk: CommandSink['onBulk'] = () => 'keep'): string[][] => {
  const commands: string[][] = [];
  const onCommand = (words: readonly Buffer[]) =>
    void commands.push(words.map((word) => word.toString('latin1')));
  const parser = new RespParser({ wordsMax, onBulk, onCommand });
  for (const piece of pieces) expect(parser.push(piece, () => true)).toHaveLength(0);
  return commands;
};

const cut = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const ends = [...cuts.map((share) => Math.floor(share * bytes.length)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
};

test('commands come out whole however the bytes are cut', () => {
  const words = fc.array(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    {
      minLength: 1,
      maxLength: 6,
    },
  );
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(words, { maxLength: 6 }), cuts, (commands, places) => {
      const bytes = Buffer.concat(commands.map((command) => wire(...command)));
      const expected = commands.map((command) => command.map((word) => word.toString('latin1')));
      expect(readAll(cut(bytes, places))).toEqual(expected);
    }),
  );
});

test('a long string goes where it is told, in any pieces, and behind one that is skipped all goes on', () => {
  const value = Buffer.alloc(100_000, 7);
  const bytes = Buffer.concat([wire('SET', 'k', value), wire('SET', 'l', value), wire('PING')]);
  for (const pieces of [
    [bytes],
    cut(bytes, [0.1, 0.3, 0.5, 0.50001, 0.9]),
    cut(
      bytes,
      Array(999)
        .fill(0)
        .map((_, i) => i / 999),
    ),
  ]) {
    const target = Buffer.alloc(value.length + 2);
    const commands = readAll(pieces, ([, key]) => (key?.toString() === 'k' ? target : 'skip'));
    expect(target.subarray(0, -2).equals(value)).toBe(true);
    expect(commands.map((words) => words.map((word) => word.length))).toEqual([
      [3, 1, value.length],
      [3, 1, 0],
      [4],
    ]);
  }
});

test('who reads the stream may read a long string where it goes, whatever was there before and comes behind', () => {
  const value = Buffer.from(Array.from({ length: 100_000 }, (_, at) => at % 251));
  const bytes = Buffer.concat([wire('SET', 'k', value), wire('PING')]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 20 }), (reads) => {
      const into = Buffer.alloc(value.length + 2);
      const commands: string[] = [];
      const parser = new RespParser({
        wordsMax,
        onBulk: () => into,
        onCommand: ([word]) => void commands.push(String(word)),
      });
      let direct = 0;
      for (let at = 0, read = 0; at < bytes.length; read += 1) {
        const { target } = parser;
        const count = Math.min(
          reads[read % reads.length] ?? 1,
          target?.length ?? Infinity,
          bytes.length - at,
        );
        const got = bytes.subarray(at, at + count);
        if (target === undefined) parser.push(got, () => true);
        else {
          got.copy(target);
          direct += count;
          if (parser.took(count)) parser.push(Buffer.alloc(0), () => true);
        }
        at += count;
      }
      expect(commands).toEqual(['SET', 'PING']);
      expect(into.subarray(0, -2).equals(value)).toBe(true);
      expect(direct).toBeGreaterThan(0);
    }),
    { numRuns: 50 },
  );
});

test('of one command no more is kept unasked than a long string has, however short its words are', () => {
  const words = Array.from({ length: 100 }, (_, at) => String(at).padStart(1_000, '.'));
  const asked: number[] = [];
  const commands = readAll([wire(...words), wire(...words)], (_, bytes, keptBytes) => {
    asked.push(keptBytes + bytes);
    return keptBytes + bytes <= 20_000 ? 'keep' : 'skip';
  });
  expect(asked.slice(0, 5)).toEqual([17_000, 18_000, 19_000, 20_000, 21_000]);
  expect(asked).toHaveLength(2 * 84);
  for (const command of commands) expect(command.filter((word) => word !== '')).toHaveLength(20);
});

test('a line of words is a command, and empty ones are none', () => {
  expect(readAll([Buffer.from('PING\r\n\r\n  SET  a b\n*0\r\n*-1\r\nPING\r\n')])).toEqual([
    ['PING'],
    ['SET', 'a', 'b'],
    ['PING'],
  ]);
});

test('it stops after a command when told, and goes on with what was left', () => {
  const commands: string[] = [];
  const parser = new RespParser({
    wordsMax,
    onBulk: () => 'keep',
    onCommand: ([word]) => void commands.push(String(word)),
  });
  const left = parser.push(Buffer.concat([wire('A'), wire('B')]), () => false);
  expect(commands).toEqual(['A']);
  parser.push(left, () => true);
  expect(commands).toEqual(['A', 'B']);
});

test.each([
  ['*9999999\r\n', 'invalid multibulk length'],
  ['*x\r\n', 'invalid multibulk length'],
  ['*1\r\n:1\r\n', "expected '$', got ':'"],
  ['*1\r\n$-1\r\n', 'invalid bulk length'],
  ['*1\r\n$99999999999\r\n', 'invalid bulk length'],
  ['*1\r\n$1\r\nab\r\n', 'expected CRLF'],
  ['x'.repeat(70_000), 'too big inline request'],
  [`${'x '.repeat(5_000)}\r\n`, 'too big inline request'],
])('what is no such protocol is an error: %j', (text, complaint) => {
  expect(() => readAll([Buffer.from(text)])).toThrow(complaint);
});

test('any bytes at all are commands or a protocol error', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (pieces) => {
      try {
        readAll(pieces.map((piece) => Buffer.from(piece)));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});
