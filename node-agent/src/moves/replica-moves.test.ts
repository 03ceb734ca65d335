import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MovesStatus } from '@cognitora/protocol/agent-status';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import type { OpenRequest, Usage } from '@cognitora/protocol/link';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Failures, SlotEngine } from '../../testing/slot-engine.ts';
import { HostBlocks } from '../truth/host-blocks.ts';
import type { PromptChain } from '../truth/served-prompt.ts';
import type { EnvelopeHead } from './envelope.ts';
import type { KvHandover, SavedPrefix } from './handover.ts';
import { MoveFiles } from './move-files.ts';
import { ReplicaMoves } from './replica-moves.ts';

let directory = '';
let handover: MemoryHandover;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'moves-'));
  writeFileSync(join(directory, 'model.gguf'), 'weights');
  handover = new MemoryHandover();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** What hosts share, in memory. */
class MemoryHandover implements KvHandover {
  readonly kept = new Map<string, { head: EnvelopeHead; bytes: Buffer }>();
  isStuck = false;
  answersInMs = 0;
  /** Its bytes come never. */
  isSlow = false;
  /** How often nobody waited for them any more. */
  ended = 0;
  /** Who holds all of it, and must be asked. */
  peer: PeerReach | undefined;

  serve(): void {}

  isReady(): boolean {
    return true;
  }

  rttMsTo(): number | undefined {
    return this.peer?.rttMs;
  }

  async has(
    fingerprint: Uint8Array,
    chain: BigUint64Array,
    from?: KvSource,
  ): Promise<SavedPrefix | undefined> {
    if (this.isStuck) return new Promise(() => {});
    if (this.answersInMs > 0) await new Promise((resolve) => setTimeout(resolve, this.answersInMs));
    if (this.peer !== undefined && from?.node !== this.peer.node) return undefined;
    for (const [id, { head, bytes }] of this.kept) {
      const differs = head.digests.findIndex((digest, at) => digest !== chain[at]);
      const blocks = differs < 0 ? head.digests.length : differs;
      const isSame = Buffer.from(head.fingerprint).equals(fingerprint);
      const peer = this.peer === undefined ? {} : { peer: this.peer };
      if (isSame && blocks > 0) return { id, blocks, tokens: head.tokens, bytes: bytes.length, ...peer };
    }
    return undefined;
  }

  async *get(id: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const kept = this.kept.get(id);
    if (this.isSlow) {
      if (!signal?.aborted) await new Promise((resolve) => signal?.addEventListener('abort', resolve));
      this.ended += 1;
      signal?.throwIfAborted();
    }
    if (kept === undefined) throw new Error('it is not there');
    yield kept.bytes;
  }

  async put(head: EnvelopeHead, envelope: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const part of envelope) parts.push(part);
    this.kept.set(String(head.digests.at(-1)), { head, bytes: Buffer.concat(parts) });
  }

  async drop(id: string): Promise<void> {
    this.kept.delete(id);
  }
}

interface Host {
  readonly engine: SlotEngine;
  readonly moves: ReplicaMoves;
  readonly said: string[];
  /** Advances with each look: a token takes long to compute, a byte no time to move. */
  readonly clock: { ms: number };
}

const ready = { name: 'r0' as ReplicaName, state: 'ready', models: [] } as const;
const prompt = 'An agent reads the whole of its instructions once more. '.repeat(40);
const chain = BigUint64Array.of(1n, 2n, 3n, 4n);

const startHost = async (
  failures: Failures = {},
  {
    computeMs = 10_000,
    model = 'model.gguf',
    ...options
  }: { build?: string; slots?: number; computeMs?: number; model?: string } = {},
): Promise<Host> => {
  const modelPath = join(directory, model);
  const engine = new SlotEngine({ directory, modelPath, failures, ...options });
  const said: string[] = [];
  const clock = { ms: 0 };
  const moves = new ReplicaMoves({
    name: ready.name,
    ask: async (path, body) => {
      clock.ms += path === '/v1/completions' ? computeMs : 1;
      return engine.ask(path, body);
    },
    files: new MoveFiles(directory),
    handover,
    held: new HostBlocks(() => {}),
    servedName: () => 'tiny',
    monotonicMs: () => clock.ms,
    wallMs: () => 0,
    pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
    log: (_level, event, fields = {}) => said.push(`${event} ${fields.why ?? ''}`),
  });
  moves.changed(ready);
  await settle(() => said.length > 0);
  return { engine, moves, said, clock };
};

/** Until something that only takes turns of the event loop and small files has happened. */
const settle = async (isDone: () => boolean): Promise<void> => {
  for (let turns = 0; turns < 5_000 && !isDone(); turns += 1)
    await new Promise((resolve) => setTimeout(resolve, 1));
  expect(isDone()).toBe(true);
};

const open = { path: '/v1/completions', stream: true, bodyBytes: 100 } as OpenRequest;

/** A request up to where the engine would get it. */
const request = async (host: Host, known?: PromptChain | 'unread' | 'not kept', kvFrom?: KvSource) => {
  const watched = host.moves.watch(kvFrom === undefined ? open : { ...open, kvFrom }, {
    chain: typeof known === 'string' ? undefined : (known ?? { digests: chain, held: 0 }),
    keepsBody: known !== 'not kept',
    body: () => {},
    head: () => {},
    data: () => {},
    ended: () => {},
  });
  watched.body(new Uint8Array(1), true);
  await watched.ready;
  return watched;
};

const usageOf = (cachedTokens: number): Usage => ({
  promptTokens: prompt.length,
  completionTokens: 1,
  cachedTokens,
});

/** Serves the prompt and waits until its state is where other hosts find it. */
const compute = async (host: Host): Promise<void> => {
  host.engine.serve(1, prompt);
  host.moves.settled({ digests: chain, usage: usageOf(0) });
  await settle(() => host.said.includes('kv saved '));
};

/** No file of a move is left. */
const left = (): readonly string[] => readdirSync(directory).filter((name) => name !== 'model.gguf');

test('what one replica computed is in a slot of the other before the request is sent', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const watched = await request(there);
  expect(there.engine.slots.map(({ text }) => text === prompt)).toContain(true);
  watched.ended(true, usageOf(prompt.length - 1));
  expect(left()).toEqual([]);
  const [{ head, bytes }] = [...handover.kept.values()] as [{ head: EnvelopeHead; bytes: Buffer }];
  const none = { count: 0, bytes: 0, ms: 0 };
  expect(here.moves.status).toEqual({
    ...{ canMove: true, restored: none, refused: {} },
    // Two looks of the clock: at the slots, and the save.
    saved: { count: 1, bytes: head.payloadBytes, ms: 2 },
  });
  expect(there.moves.status).toEqual({
    ...{ canMove: true, saved: none, refused: {} },
    restored: { count: 1, bytes: bytes.length, ms: 2 },
  });
});

test('what is here already, or too little, is not fetched', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const before = there.engine.restores();
  await request(there, { digests: chain, held: 4 });
  await request(there, { digests: chain, held: 3 });
  await request(there, { digests: BigUint64Array.of(9n, 2n, 3n), held: 0 });
  await request(there, 'unread');
  expect(there.engine.restores()).toBe(before);
  // There was nothing to move, so nothing was refused.
  expect(there.moves.status.refused).toEqual({});
});

test('a damaged envelope is never shown to the engine, and is gone', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const [kept] = handover.kept.values();
  if (kept === undefined) throw new Error('nothing was kept');
  const at = kept.bytes.length - 100;
  kept.bytes[at] = (kept.bytes[at] ?? 0) ^ 1;
  const before = there.engine.restores();
  await request(there);
  expect(there.engine.restores()).toBe(before);
  expect(there.said.join()).toContain('the envelope is damaged');
  expect([handover.kept.size, left()]).toEqual([0, []]);
  expect(there.moves.status).toMatchObject({ restored: { count: 0 }, refused: { damaged: 1 } });
});

test('an engine that computes the prompt sooner than it moves is left to it', async () => {
  const [here, there] = [await startHost(), await startHost({}, { computeMs: 1 })];
  await compute(here);
  const before = there.engine.restores();
  await request(there);
  expect(there.engine.restores()).toBe(before);
  expect(there.moves.status.refused).toEqual({ slower_than_computing: 1 });
});

test('an engine of another build gets nothing', async () => {
  const [here, there] = [await startHost(), await startHost({}, { build: 'b1' })];
  await compute(here);
  const before = there.engine.restores();
  await request(there);
  expect(there.engine.restores()).toBe(before);
});

test.each<[string, Failures, RegExp]>([
  ['restores nothing', { restoresNothing: true }, /computes anew/],
  ['saves where nobody looks', { savesElsewhere: true }, /another directory/],
  ['has adapters', { adapters: '[{"id":0,"path":"a.gguf","scale":1}]' }, /adapters/],
  ['knows no slots', { hasNoSlots: true }, /does not tell its slots/],
])('an engine that %s is never used', async (_name, failures, why) => {
  const here = await startHost();
  await compute(here);
  const there = await startHost(failures);
  expect(there.said.join()).toMatch(why);
  const before = there.engine.asked.length;
  expect((await request(there)).ready).toBeUndefined();
  there.moves.settled({ digests: chain, usage: usageOf(0) });
  expect(there.engine.asked.length).toBe(before);
  expect(there.moves.status.canMove).toBe(false);
});

test('a model that is split over files is told once and never moved: one of them says too little', async () => {
  const model = 'big-00001-of-00003.gguf';
  writeFileSync(join(directory, model), 'the first part');
  const { said, engine } = await startHost({}, { model });
  expect(said).toEqual([
    expect.stringMatching(/^kv does not move .*big-00001-of-00003\.gguf is one of several$/),
  ]);
  expect(engine.asked.filter((path) => path.includes('save'))).toEqual([]);
});

test('each sibling gets a slot of its own, and none a slot that is busy', async () => {
  const [here, there] = [await startHost({}, { slots: 3 }), await startHost({}, { slots: 3 })];
  await compute(here);
  const busy = there.engine.slots[2];
  if (busy !== undefined) busy.isBusy = true;
  const before = there.engine.restores();
  const [first] = await Promise.all([request(there), request(there), request(there)]);
  expect(there.engine.slots.map(({ text }) => text === prompt)).toEqual([true, true, false]);
  expect(there.engine.restores()).toBe(before + 2);
  expect(there.moves.status).toMatchObject({ restored: { count: 2 }, refused: { busy: 1 } });
  // A comment is no token: both slots are still promised.
  first?.data(Buffer.from(': ping\n\n'));
  await request(there);
  expect(there.engine.restores()).toBe(before + 2);
  // The first one is in its slot now; the other slot is still promised.
  first?.data(new Uint8Array(1));
  await request(there);
  expect(there.engine.restores()).toBe(before + 3);
});

test('an engine that uses nothing of what is restored is not asked a fourth time', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const before = there.engine.restores();
  for (let times = 0; times < 5; times += 1) (await request(there)).ended(true, usageOf(0));
  expect(there.engine.restores()).toBe(before + 3);
  expect(there.said.join()).toContain('used nothing');
  expect(there.moves.status).toMatchObject({ restored: { count: 3 }, refused: { unused: 3 } });
});

test('a silent hand-over holds no request up for long, and nothing is restored for one that ended', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const before = there.engine.restores();
  const cancelled = there.moves.watch(open, {
    chain: { digests: chain, held: 0 },
    keepsBody: true,
    body: () => {},
    head: () => {},
    data: () => {},
    ended: () => {},
  });
  cancelled.body(new Uint8Array(1), true);
  cancelled.ended(false, undefined);
  await cancelled.ready;
  await settle(() => there.moves.status.refused.too_late === 1);
  handover.isStuck = true;
  await request(there);
  expect(there.engine.restores()).toBe(before);
  expect(there.moves.status.refused).toEqual({ too_late: 2 });
});

test('a hand-over that fails is told apart from one that is late, and costs no request', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  const { get, has, put } = handover;
  const fails = (): never => {
    throw new Error('the disk is gone');
  };
  handover.get = fails;
  await request(there);
  handover.has = async () => fails();
  await request(there);
  expect(there.moves.status).toMatchObject({ restored: { count: 0 }, refused: { failed: 2 } });
  Object.assign(handover, { get, has, put: async () => fails() });
  here.moves.settled({ digests: BigUint64Array.of(9n), usage: usageOf(0) });
  await settle(() => here.moves.status.refused.failed === 1);
  handover.put = put;
});

const node = `n${'b'.repeat(26)}` as NodeId;
const peer: PeerReach = { node, transport: 'tls', rttMs: 1, bytesPerMs: 1e6 };

test('what the edge says another host holds is fetched from there, if that way is quick enough', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  handover.peer = peer;
  const before = there.engine.restores();
  await request(there);
  expect(there.engine.restores()).toBe(before);
  const watched = await request(there, undefined, { node, blocks: 4 });
  expect(there.engine.restores()).toBe(before + 1);
  watched.ended(true, usageOf(prompt.length - 1));
  handover.peer = { ...peer, rttMs: 60_000 };
  await request(there, undefined, { node, blocks: 4 });
  expect(there.engine.restores()).toBe(before + 1);
  expect(there.moves.status).toMatchObject({
    ...{ restored: { count: 1 }, refused: { slower_than_computing: 1 } },
  });
});

test('the answer of a far host is waited for as long as the way to it takes, if computing takes longer', async () => {
  const [here, there, fast] = [await startHost(), await startHost(), await startHost({}, { computeMs: 1 })];
  await compute(here);
  handover.answersInMs = 700;
  const ask = (host: Host, rttMs: number): Promise<unknown> => {
    handover.peer = { ...peer, rttMs };
    return request(host, undefined, { node, blocks: 4 });
  };
  await ask(there, 1);
  expect(there.moves.status.refused).toEqual({ too_late: 1 });
  await ask(there, 300);
  expect(there.moves.status).toMatchObject({ restored: { count: 1 }, refused: { too_late: 1 } });
  await ask(fast, 300);
  expect(fast.moves.status.refused).toEqual({ too_late: 1 });
});

test('a host that the edge names and that has it no more costs no request, and is counted', async () => {
  const there = await startHost();
  await request(there, undefined, { node, blocks: 4 });
  expect(there.moves.status.refused).toEqual({ gone_at_peer: 1 });
});

test('what comes too late ends, and the request is sent as it is', async () => {
  const [here, there] = [await startHost(), await startHost({}, { computeMs: 20 })];
  await compute(here);
  handover.isSlow = true;
  await request(there);
  await settle(() => there.moves.status.refused.too_late === 1);
  expect([handover.ended, left()]).toEqual([1, []]);
});

test('what a replica takes in, and how fast, is told once its KV moves', async () => {
  const there = await startHost();
  const { bytesPerToken = 0, insertBytesPerMs = 0 } = there.moves.mover ?? {};
  expect([bytesPerToken > 0, insertBytesPerMs > 0]).toEqual([true, true]);
  there.moves.changed({ ...ready, state: 'failed' });
  expect(there.moves.mover).toBeUndefined();
});

test('a body that nobody keeps is sent as it comes', async () => {
  const [here, there] = [await startHost(), await startHost()];
  await compute(here);
  expect((await request(there, 'not kept')).ready).toBeUndefined();
  expect((await request(there)).ready).toBeDefined();
});

test('an answer is saved once, only from the slot that holds it, and not too often', async () => {
  const host = await startHost();
  const saves = (): number => host.engine.asked.filter((path) => path.endsWith('action=save')).length;
  const probed = saves();
  await compute(host);
  host.moves.settled({ digests: chain, usage: usageOf(0) });
  host.moves.settled({ digests: chain, usage: { ...usageOf(0), promptTokens: 100 } });
  host.moves.settled({ digests: BigUint64Array.of(7n), usage: { ...usageOf(0), promptTokens: 5_000 } });
  const countOf = ({ saved, refused }: MovesStatus): number =>
    Object.values(refused).reduce((sum, count) => sum + count, saved.count);
  // The first, and the one whose tokens no slot has.
  await settle(() => countOf(host.moves.status) === 2);
  expect(saves()).toBe(probed + 1);
  for (let digest = 10n; digest < 40n; digest += 1n) {
    const before = countOf(host.moves.status);
    host.moves.settled({ digests: BigUint64Array.of(digest), usage: usageOf(0) });
    await settle(() => countOf(host.moves.status) > before);
  }
  const { refused, saved } = host.moves.status;
  expect(saved.count).toBeLessThanOrEqual(12);
  expect([saved.count, refused.not_in_a_slot]).toEqual([saves() - probed, 1]);
  expect(refused.saved_too_often).toBe(30 - saved.count + 1);
  host.clock.ms += 61_000;
  const before = saves();
  host.moves.settled({ digests: BigUint64Array.of(50n), usage: usageOf(0) });
  await settle(() => saves() > before);
});

test('an engine that comes up anew is probed anew', async () => {
  const host = await startHost();
  host.engine.failures.restoresNothing = true;
  host.moves.changed({ ...ready, state: 'failed' });
  expect((await request(host)).ready).toBeUndefined();
  host.moves.changed(ready);
  await settle(() => host.said.length > 1);
  expect(host.said.at(-1)).toContain('computes anew');
});

test('an engine that is too busy to be probed is probed when it is not', async () => {
  const host = await startHost({ isFull: true });
  expect(host.said).toEqual(['kv does not move no slot is free']);
  host.engine.failures.isFull = false;
  await settle(() => host.said.length > 1);
  expect(host.said).toEqual(['kv does not move no slot is free', 'kv moves ']);
});
