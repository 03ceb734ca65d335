/** What every hand-over must do, whatever it keeps envelopes in. A test file of each runs it. */
import { expect, test } from 'vitest';
import { HostBlocks } from '../truth/host-blocks.ts';
import { EnvelopeReader, EnvelopeRefused, seal } from './envelope.ts';
import { type EngineFacts, fingerprintOf } from './fingerprint.ts';
import type { KvHandover, SavedPrefix } from './handover.ts';

export const facts: EngineFacts = {
  model: 'a'.repeat(64),
  build: 'b1',
  slots: 2,
  contextTokens: 4_096,
  probeTokens: 300,
  probeBytes: 500_000,
};
export const otherFacts: EngineFacts = { ...facts, build: 'b2' };

export const chain = (...digests: number[]): BigUint64Array => BigUint64Array.from(digests, BigInt);

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += pieceBytes) yield bytes.subarray(from, from + pieceBytes);
}

export const payloadOf = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, at) => (at * 31) % 251);

export const put = (
  handover: KvHandover,
  digests: BigUint64Array,
  { bytes = 100, of = facts }: { bytes?: number; of?: EngineFacts } = {},
): Promise<void> => {
  const head = {
    fingerprint: fingerprintOf(of),
    digests,
    tokens: 100 * digests.length,
    payloadBytes: bytes,
  };
  return handover.put(head, seal(head, inPieces(payloadOf(bytes), 64)));
};

/** The payload, as far as it can be used. */
export const read = async (handover: KvHandover, found: SavedPrefix | undefined): Promise<Uint8Array> => {
  const reader = new EnvelopeReader(fingerprintOf(facts));
  const pieces: Uint8Array[] = [];
  for await (const piece of handover.get(found?.id ?? '')) pieces.push(reader.push(piece));
  reader.end();
  return Buffer.concat(pieces);
};

/** A replica of such facts is there, and the hand-over ready for it. */
export const serve = async (handover: KvHandover, of: EngineFacts = facts): Promise<HostBlocks> => {
  const held = new HostBlocks(() => {});
  const fingerprint = fingerprintOf(of);
  handover.serve({ fingerprint, facts: of, held });
  await expect.poll(() => handover.isReady(fingerprint)).toBe(true);
  return held;
};

export interface Conforming {
  /** Another agent's, over what all of them share. */
  readonly open: () => KvHandover;
  /** Breaks a byte in the midst of everything that is kept. */
  readonly damage: () => void;
}

const has = (handover: KvHandover, digests: BigUint64Array, of = facts) =>
  handover.has(fingerprintOf(of), digests);

/** Two agents, each with a replica of both builds. */
const agentsOf = async ({ open, damage }: Conforming) => {
  const [here, there] = [open(), open()];
  for (const handover of [here, there]) for (const of of [facts, otherFacts]) await serve(handover, of);
  return { here, there, damage };
};

export const conformance = (start: () => Conforming): void => {
  conformsWhole(start);
  conformsBroken(start);
};

const conformsWhole = (start: () => Conforming): void => {
  const agents = () => agentsOf(start());

  test('what one agent put, another one finds by any prompt that begins with it', async () => {
    const { here, there } = await agents();
    await put(here, chain(1, 2, 3));
    expect(await has(there, chain(1, 2, 3, 4))).toMatchObject({ blocks: 3, tokens: 300 });
    expect(await has(there, chain(1, 2, 8))).toMatchObject({ blocks: 2, tokens: 200 });
    expect(await has(there, chain(2, 3))).toBeUndefined();
    expect(await has(there, chain(1, 2, 3), otherFacts)).toBeUndefined();
    const found = await has(there, chain(1));
    expect(await read(there, found)).toEqual(Buffer.from(payloadOf(100)));
    const head = 8 + 24 + 32 + 3 * 8 + 32;
    expect(found?.bytes).toBe(head + 100 + 32);
  });

  test('the one that covers most is found, and goes on where a shorter one ends', async () => {
    const { here } = await agents();
    await put(here, chain(1, 2), { bytes: 50 });
    await put(here, chain(1, 2, 3, 4), { bytes: 500 });
    await put(here, chain(1, 2, 3, 5), { bytes: 400 });
    expect(await has(here, chain(1, 2, 3, 4))).toMatchObject({ blocks: 4 });
    expect(await has(here, chain(1, 2, 3, 5, 6))).toMatchObject({ blocks: 4 });
    expect(await has(here, chain(1, 2, 3, 6))).toMatchObject({ blocks: 3 });
    expect(await read(here, await has(here, chain(1, 2, 3, 4)))).toHaveLength(500);
  });
};

const conformsBroken = (start: () => Conforming): void => {
  const agents = () => agentsOf(start());

  test('an envelope that breaks off leaves nothing that is found', async () => {
    const { here, there } = await agents();
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield payloadOf(10);
      expect(await has(there, chain(1))).toBeUndefined();
      throw new Error('the engine is gone');
    }
    const head = { fingerprint: fingerprintOf(facts), digests: chain(1), tokens: 1, payloadBytes: 20 };
    await expect(here.put(head, seal(head, broken()))).rejects.toThrow(/is gone/);
    expect(await has(here, chain(1))).toBeUndefined();
  });

  test('what is damaged is not offered, or shows when it is read, and can be dropped', async () => {
    const { here, there, damage } = await agents();
    await put(here, chain(1, 2), { bytes: 3_000 });
    damage();
    const found = await has(there, chain(1, 2));
    if (found !== undefined) {
      await expect(read(there, found)).rejects.toThrow(EnvelopeRefused);
      await there.drop(found.id);
    }
    expect(await has(there, chain(1, 2))).toBeUndefined();
  });

  test('what was dropped is not read, nor what never was there', async () => {
    const { here } = await agents();
    await put(here, chain(1, 2));
    const found = await has(here, chain(1, 2));
    await here.drop(found?.id ?? '');
    await expect(read(here, found)).rejects.toThrow();
    expect(await has(here, chain(1, 2))).toBeUndefined();
    const foreign = { ...found, id: '../notes.txt' } as SavedPrefix;
    await expect((async () => read(here, foreign))()).rejects.toThrow(RangeError);
  });

  test('who no longer waits gets no more of it', async () => {
    const { here } = await agents();
    await put(here, chain(1, 2), { bytes: 5_000 });
    const found = await has(here, chain(1, 2));
    const late = new AbortController();
    const reading = here.get(found?.id ?? '', late.signal)[Symbol.asyncIterator]();
    late.abort();
    await expect(
      (async () => {
        for (;;) if ((await reading.next()).done) return;
      })(),
    ).rejects.toThrow();
  });
};
