/**
 * Directories that engines offload to, mirrored: programs that write as engines do, one that reads as they do, and a
 * slot that a real engine saved on one host and another one restores on the other. Between hosts values are copied by
 * the test.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import {
  type Client,
  createClient,
  endPrograms,
  startProgram,
} from '../../embedded-engine/src/testing/program.ts';
import { type Mirror, startMirror } from '../../kvcache/src/faces/directory/mirror.ts';
import { KvStore } from '../../kvcache/src/store.ts';
import { until } from '../harness/until.ts';
import { startDaemon } from './daemon.ts';
import { isWhole } from './file-engine.ts';

const namespace = 'n0123456789abcdef';

afterAll(endPrograms);

const placeOf = (): string => {
  const place = mkdtempSync(join(tmpdir(), 'kv-mirrors-'));
  onTestFinished(() => rmSync(place, { recursive: true, force: true, maxRetries: 3 }));
  return place;
};

interface Host {
  readonly directory: string;
  readonly store: KvStore;
  readonly mirror: Mirror;
}

const hostOf = async (fetch?: (keys: readonly string[]) => Promise<unknown>): Promise<Host> => {
  const place = placeOf();
  const directory = join(place, 'offload');
  mkdirSync(directory);
  const ssd = { directory: join(place, 'segments'), bytesMax: 2 ** 30 };
  const store = await KvStore.open({ ramBytesMax: 2 ** 26, ssd, nowMs: () => Date.now() });
  const mirror = await startMirror({ directory, namespace, nowMs: () => Date.now(), fetch }, store);
  onTestFinished(async () => {
    await mirror.close();
    await store.close();
  });
  return { directory, store, mirror };
};

/** As a peer would bring it. */
const carry = async (from: KvStore, to: KvStore, keys: readonly string[]): Promise<void> => {
  for (const key of keys) {
    const held = await from.get(key);
    if (held === undefined) continue;
    const value = to.reserve(key, held.bytes.length);
    if (value !== undefined) {
      held.bytes.copy(value.bytes);
      value.commit();
    }
    held.release();
  }
};

const started = (...argv: readonly string[]) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'file-engine.ts'), ...argv]);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += String(chunk);
  });
  const ended = new Promise<string>((resolve) => child.once('close', () => resolve(said)));
  onTestFinished(() => void child.kill('SIGKILL'));
  return { ended, stop: () => child.stdin.end() };
};

const wholeOf = async (store: KvStore, key: string): Promise<boolean> => {
  const held = await store.get(key);
  const is = held === undefined || isWhole(held.bytes);
  held?.release();
  return is;
};

test('whatever programs write is taken whole, and whatever a program on another host reads is whole', async () => {
  const here = await hostOf();
  const there = await hostOf();
  const reader = started('read', there.directory);
  const writers = [started('aside', here.directory, '20'), started('in-place', here.directory, '5')];
  let isWriting = true;
  const written = Promise.all(writers.map(({ ended }) => ended)).then(() => {
    isWriting = false;
  });
  const moved = new Set<string>();
  const move = async (): Promise<void> => {
    for (const key of here.store.keys()) {
      expect(await wholeOf(here.store, key), key).toBe(true);
      if (moved.has(key)) continue;
      moved.add(key);
      await carry(here.store, there.store, [key]);
      expect(await there.mirror.restore(key)).toBe('restored');
    }
  };
  await until('everything that was written to be on the other host', async () => {
    await move();
    return !isWriting && moved.size === 43 && here.mirror.counts.waiting === 0;
  });
  await written;
  reader.stop();
  expect(JSON.parse(await reader.ended)).toEqual({ seen: 43, broken: 0 });
  expect(there.mirror.counts).toMatchObject({ restored: 43, adopted: 0, files: 43 });
  expect(here.mirror.counts.watches).toBeGreaterThan(1);
});

test('a slot that a real engine saved is restored by one on another host', async () => {
  const here = await hostOf();
  const there: Host = await hostOf((keys) => carry(here.store, there.store, keys));
  const models = placeOf();
  const engine = async ({ directory }: Host): Promise<Client> => {
    const model = ['--model', 'tiny', '--models-dir', models];
    const slots = ['--slot-save-path', directory, '--sequences', '1', '--context', '1024'];
    return createClient((await startProgram([...model, ...slots]).line).url);
  };
  const first = await engine(here);
  const second = await engine(there);
  const prompt = 'Once upon a time there was a little girl who lived in a small house. '.repeat(12);
  const question = { model: 'tiny', prompt, max_tokens: 8, temperature: 0 };
  const computed = (await first.post('/v1/completions', question)).body;
  const slot = { filename: 'slot.bin' };
  const saved = await first.post('/slots/0?action=save', slot);
  expect(saved.status).toBe(200);
  await until('the slot to be a value', () => here.store.has(`${namespace}:slot.bin`));

  // Nothing of it is there before, and the engine finds it once it was brought.
  expect((await second.post('/slots/0?action=restore', slot)).status).toBe(400);
  expect(await there.mirror.restore(`${namespace}:slot.bin`)).toBe('restored');
  const restored = await second.post('/slots/0?action=restore', slot);
  expect([restored.status, restored.body.n_restored]).toEqual([200, saved.body.n_saved]);
  const again = (await second.post('/v1/completions', question)).body;
  expect(again.usage.prompt_tokens_details.cached_tokens).toBe(computed.usage.prompt_tokens - 1);
  expect(again.choices[0]?.text).toBe(computed.choices[0]?.text);
  expect(readdirSync(there.directory)).toEqual(['slot.bin']);
});

const asked = async (socketPath: string, path: string, body: object, method = 'POST'): Promise<unknown> => {
  const sent = request({ socketPath, path, method });
  sent.end(JSON.stringify(body));
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return JSON.parse(await text(answer));
};

test('a daemon that mirrors a directory gives back what the engine removed, when it is asked to fetch it', async () => {
  const place = placeOf();
  const directory = join(place, 'offload');
  mkdirSync(directory);
  const config = join(place, 'kvcached.toml');
  writeFileSync(config, `[[mirror]]\ndirectory = "${directory}"\nfields = { model = "m" }\n`);
  const daemon = await startDaemon('--config', config, '--data-dir', join(place, 'data'), '--disk', '1GiB');
  const file = join(directory, 'model_r0/0f0/f0_g0/0f.bin');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}_1.tmp`, 'bytes');
  renameSync(`${file}_1.tmp`, file);
  const page = async (): Promise<string> => (await fetch(`${daemon.statusUrl}/metrics`)).text();
  await until('the file to be a value', async () =>
    /^cognitora_kv_values\{tier="ram"\} 1$/m.test(await page()),
  );
  rmSync(file);
  const socket = join(place, 'data', kvDaemonSocketName);
  const { namespace } = (await asked(socket, '/v1/namespaces', { fields: { model: 'm' } }, 'PUT')) as {
    namespace: string;
  };
  const key = `${namespace}:model_r0/0f0/f0_g0/0f.bin`;
  const keys = [key, `${namespace}:none.bin`];
  const fetched = await asked(socket, '/v1/fetch', { keys, node: 'any', deadlineMs: 5_000 });
  expect(fetched).toMatchObject({ fetched: 0, missing: [`${namespace}:none.bin`] });
  expect(readFileSync(file, 'utf8')).toBe('bytes');
  expect(readdirSync(dirname(file))).toEqual(['0f.bin']);
  expect(await daemon.end('SIGTERM')).toBe(0);
});
