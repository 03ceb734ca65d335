import { utf8 } from '@cognitora/protocol/bytes';
import { text } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { BodyPipe } from './body-pipe.ts';

const piped = () => {
  const told: string[] = [];
  const time = { nowMs: 1000 };
  const pipe = new BodyPipe({
    clock: () => time.nowMs,
    onConsumed: (bytes) => told.push(`consumed ${bytes}`),
    onCancel: () => told.push('cancel'),
    onDone: () => told.push('done'),
  });
  return { pipe, told, time, reader: pipe.readable.getReader() };
};

/** What one read gives: text, `end`, or the error's message. */
const read = (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> =>
  reader.read().then(
    ({ done, value }) => (done ? 'end' : text(value ?? new Uint8Array())),
    (error: Error) => `error ${error.message}`,
  );

/** A read for which the pipe has been asked by now; in an array, since `await` would wait for its end. */
const begun = async (reading: Promise<string>): Promise<[Promise<string>]> => {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  return [reading];
};

test('what piled up before a read is one chunk, and counts as consumed when it is read', async () => {
  const { pipe, told, reader } = piped();
  pipe.write(utf8('ab'));
  pipe.write(utf8('cd'));
  pipe.flush();
  expect(told).toEqual([]);
  expect(pipe.isEmpty).toBe(false);
  expect(await read(reader)).toBe('abcd');
  expect(pipe.isEmpty).toBe(true);
  expect(told).toEqual(['consumed 4']);
});

test('a waiting reader gets bytes at the flush, not before', async () => {
  const { pipe, told, reader } = piped();
  const [waits] = await begun(read(reader));
  pipe.write(utf8('ab'));
  expect(told).toEqual([]);
  pipe.write(utf8('cd'));
  pipe.flush();
  expect(await waits).toBe('abcd');
});

test('the reader’s chunk is a copy: frames are views of one message', async () => {
  const { pipe, reader } = piped();
  const message = utf8('headbody');
  pipe.write(message.subarray(4));
  expect(await read(reader)).toBe('body');
  expect(text(message)).toBe('headbody');
});

test('a chunk that is most of its message is handed on as it is', async () => {
  const { pipe, reader } = piped();
  const message = utf8('hbody');
  pipe.write(message.subarray(1));
  pipe.flush();
  const { value } = await reader.read();
  expect(value?.buffer).toBe(message.buffer);
});

test('a chunk that is little of its message does not keep it in memory', async () => {
  const { pipe, reader } = piped();
  const message = new Uint8Array(1000);
  pipe.write(message.subarray(0, 10));
  pipe.flush();
  const { value } = await reader.read();
  expect(value?.buffer.byteLength).toBe(10);
});

test('with little unread the pipe stays quiet; with much it hears by itself of what was read', async () => {
  const { pipe, told, reader } = piped();
  const [little] = await begun(read(reader));
  pipe.write(new Uint8Array(100));
  pipe.flush();
  await little;
  const [next] = await begun(read(reader));
  expect(told).toEqual([]);
  for (let count = 0; count < 3; count += 1) {
    pipe.write(new Uint8Array(10_000));
    pipe.flush();
  }
  await next;
  for (let count = 0; count < 2; count += 1) await read(reader);
  const [last] = await begun(read(reader));
  expect(told.map((line) => Number(line.split(' ')[1])).reduce((sum, bytes) => sum + bytes, 0)).toBe(30_100);
  pipe.close();
  expect(await last).toBe('end');
});

test('a long tail is watched until it is read; the end follows it', async () => {
  const { pipe, told, reader } = piped();
  pipe.write(new Uint8Array(10_000));
  pipe.close();
  expect(told).toEqual([]);
  await read(reader);
  expect(await read(reader)).toBe('end');
  expect(told).toEqual(['consumed 10000', 'done']);
});

test('our own bytes are no credit', async () => {
  const { pipe, told, reader } = piped();
  pipe.writeUncounted(utf8(': comment\n\n'));
  pipe.write(utf8('x'));
  expect(await read(reader)).toBe(': comment\n\nx');
  expect(pipe.isEmpty).toBe(true);
  expect(told).toEqual(['consumed 1']);
});

test('an empty write is nothing to read', async () => {
  const { pipe, reader } = piped();
  const [waits] = await begun(read(reader));
  pipe.write(new Uint8Array());
  pipe.flush();
  pipe.write(utf8('x'));
  pipe.flush();
  expect(await waits).toBe('x');
});

test.each(['before', 'after'])(
  'the end follows the last byte when the reader reads %s the close',
  async (when) => {
    const { pipe, told, reader } = piped();
    const [early] = when === 'before' ? await begun(read(reader)) : [];
    pipe.write(utf8('ab'));
    pipe.close();
    expect(await (early ?? read(reader))).toBe('ab');
    expect(await read(reader)).toBe('end');
    expect(told).toEqual(['consumed 2', 'done']);
  },
);

test('a close ends the read that waits for bytes', async () => {
  const { pipe, told, reader } = piped();
  const [waits] = await begun(read(reader));
  pipe.close();
  expect(await waits).toBe('end');
  expect(told).toEqual(['done']);
});

test.each(['before', 'after'])(
  'what is put in the place of bytes %s a read is all that comes',
  async (when) => {
    const { pipe, told, reader } = piped();
    if (when === 'after') {
      pipe.write(utf8('x'));
      expect(await read(reader)).toBe('x');
    }
    pipe.write(utf8('ab'));
    pipe.replace(utf8('end of it'));
    expect([await read(reader), await read(reader)]).toEqual(['end of it', 'end']);
    expect(told.filter((line) => line !== 'consumed 1')).toEqual(['consumed 2', 'done']);
  },
);

test.each([0, 1])('a reader who leaves gives back what waits for him (read %i chunks)', async (reads) => {
  const { pipe, told, reader } = piped();
  for (let count = 0; count < reads; count += 1) {
    pipe.write(utf8('x'));
    await read(reader);
  }
  pipe.write(utf8('abc'));
  await reader.cancel();
  expect(told.slice(reads)).toEqual(['consumed 3', 'done', 'cancel']);
});

test('a reader who leaves with the end in sight still gives back what waits', async () => {
  const { pipe, told, reader } = piped();
  pipe.write(utf8('abc'));
  pipe.close();
  await reader.cancel();
  expect(told).toEqual(['consumed 3', 'done', 'cancel']);
});

test('a stall is counted from when bytes began to wait', async () => {
  const { pipe, time, reader } = piped();
  expect(pipe.stalledMs(5000)).toBe(0);
  pipe.write(utf8('a'));
  time.nowMs = 3000;
  pipe.write(utf8('b'));
  expect(pipe.stalledMs(5000)).toBe(4000);
  await read(reader);
  expect(pipe.stalledMs(5000)).toBe(0);
  pipe.write(utf8('c'));
  expect(pipe.stalledMs(5000)).toBe(2000);
});
