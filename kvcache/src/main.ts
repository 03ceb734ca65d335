/**
 * The program `cgn kvcached`: options in, signals in, one store and its faces. Says one line of JSON on standard output
 * once it serves; everything else goes to standard error. Ends in order: no new clients, what waits is written, gone.
 */
import { join } from 'node:path';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { DirectoryTaken } from '@cognitora/protocol/directory-lock';
import { messageOf } from '@cognitora/protocol/errors';
import { anyNode, kvFetchMsMax } from '@cognitora/protocol/kv-daemon';
import { RepeatedSignals } from '@cognitora/protocol/repeated-signals';
import { version } from '@cognitora/protocol/version';
import { unlessInUse } from './address-in-use.ts';
import { monotonicMs, wallMs } from './clock.ts';
import { describeOptions } from './config/describe.ts';
import { kvcachedHelp } from './config/help.ts';
import { hostNotes, thisHost } from './config/host-notes.ts';
import type { DaemonOptions, PeersOptions } from './config/options.ts';
import { parseOptions } from './config/parse.ts';
import { defaultConfigPath } from './config/schema.ts';
import { kvcachedLock } from './directory-lock.ts';
import { type Mirror, startMirror } from './faces/directory/mirror.ts';
import { startLocalServer } from './faces/local/server.ts';
import { refuseTaken, SocketTaken } from './faces/local/socket-file.ts';
import { startRespServer } from './faces/resp/server.ts';
import { metricsText } from './metrics.ts';
import { Namespaces } from './namespaces.ts';
import { NewestKeys } from './peers/newest-keys.ts';
import { Peers } from './peers/peers.ts';
import { ReplicaSource } from './peers/replica-source.ts';
import { random } from './random.ts';
import { startStatusServer } from './status-server.ts';
import { KvStore } from './store.ts';
import { servingWords, stoppingWords } from './terminal-words.ts';

/** Enough to take over from one that was killed. One that ends may write for minutes: nobody waits for that here. */
const lockPatienceMs = 1_000;

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Undefined when there is nothing to run. */
const readOptions = (): DaemonOptions | undefined => {
  const parsed = parseOptions(process.argv.slice(2), process.env, defaultConfigPath);
  if (parsed !== 'help' && !parsed.isCheck) return parsed.options;
  const notes = parsed === 'help' ? [] : hostNotes(parsed.options, thisHost);
  const told = parsed === 'help' ? kvcachedHelp() : describeOptions(parsed);
  process.stdout.write([told, ...notes.map((note) => `\n${note}\n`)].join(''));
  return undefined;
};

const startPeers = (
  options: PeersOptions,
  store: KvStore,
  named: Namespaces,
  newest: NewestKeys,
): Promise<Peers> =>
  Peers.start(options, {
    store,
    newest,
    namespaces: () => named.all,
    onError: (message) => say(`peers: ${message}`),
    nowMs: monotonicMs,
    wallMs,
    random,
  });

/** Whoever has them, within the longest that a fetch may take. */
const fetchFrom = (peers: Peers) => (keys: readonly string[]) =>
  peers.fetch({ keys, node: anyNode, deadlineMs: kvFetchMsMax }, AbortSignal.timeout(kvFetchMsMax));

interface Beside {
  readonly named: Namespaces;
  readonly newest: NewestKeys;
  readonly peers: Peers | undefined;
}

const startMirrors = (
  places: DaemonOptions['mirrors'],
  store: KvStore,
  { named, newest, peers }: Beside,
): Promise<readonly Mirror[]> => {
  const source = peers && new ReplicaSource(peers, store, monotonicMs);
  const starting = places.map(({ directory, fields, bytesMax, isReplicated }) => {
    const namespace = named.name(fields);
    const mirror = { directory, namespace, bytesMax, nowMs: wallMs, onError: say };
    const fetch = peers && fetchFrom(peers);
    const onAdopted = (key: string, bytes: number): void => newest.add(namespace, key, bytes);
    return startMirror({ ...mirror, fetch, onAdopted, replicas: isReplicated ? source : undefined }, store);
  });
  return Promise.all(starting);
};

const run = async (options: DaemonOptions): Promise<void> => {
  const { ramBytesMax, ssd, ttlMs, status, password, socket } = options;
  await refuseTaken(socket);
  process.once('exit', await kvcachedLock.take(options.dataDirectory, lockPatienceMs));
  for (const note of hostNotes(options, thisHost)) say(note);
  const store = await KvStore.open({
    ramBytesMax,
    ssd,
    ttlMs,
    nowMs: wallMs,
    onError: (message) => say(`disk: ${message}`),
  });
  const onError = (thrown: unknown): void => say(`client: ${messageOf(thrown)}`);
  const named = new Namespaces(join(options.dataDirectory, 'namespaces.json'), say);
  const namespaces = new Map(
    options.namespaces.map(({ database, fields }) => [database, named.name(fields)]),
  );
  const shared = { store, nowMs: wallMs, version, onError };
  const mirrored = options.mirrors.map(({ fields }) => named.name(fields));
  const newest = new NewestKeys(mirrored, { has: (key) => store.has(key), wallMs });
  const peers =
    options.peers && (await unlessInUse('--peers', startPeers(options.peers, store, named, newest)));
  const mirrors = await startMirrors(options.mirrors, store, { named, newest, peers });
  const startedAtMs = wallMs();
  const ours = { ...shared, namespaces: named, peers, mirrors, startedAtMs };
  const local = await startLocalServer({ ...ours, path: socket });
  const redis = await Promise.all(
    options.resp.map((listen) =>
      unlessInUse('--listen', startRespServer({ ...shared, listen, password, namespaces })),
    ),
  );
  const metrics = (): string => metricsText(store, { peers: peers?.counts, mirrors });
  const told = status && (await unlessInUse('--status', startStatusServer(status, metrics)));
  let isEnding = false;
  const end = async (): Promise<void> => {
    // A parent that asked us to end, and then is gone.
    if (isEnding) return;
    isEnding = true;
    if (process.stdout.isTTY) say(stoppingWords(store.ssd?.counts.dirtyBytes ?? 0));
    for (const server of redis) server.close();
    told?.close();
    await local.close();
    await peers?.close();
    await Promise.all(mirrors.map((mirror) => mirror.close()));
    await store.close();
    process.exit(0);
  };
  if (process.env.COGNITORA_PARENT_PIPE === '1') {
    // Its end says that the parent is gone, however it went.
    process.stdin.once('end', () => void end()).once('error', () => void end());
    process.stdin.resume();
  }
  const signals = new RepeatedSignals();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      const heard = signals.heard(monotonicMs());
      if (heard === 'first') void end();
      // Somebody who asks again does not want to wait for the disk: what is not on it yet is lost.
      else if (heard === 'again') process.exit(1);
    });
  }
  const values = store.ssd?.counts.values ?? 0;
  const resp = redis.map((server) => server.address());
  const facts = { status: told?.address(), socket, values, peers: peers?.fabric.self.addresses };
  const line = `${JSON.stringify({ event: 'serving', resp: resp[0], ...facts })}\n`;
  process.stdout.write(process.stdout.isTTY ? servingWords({ resp, ...facts }) : line);
};

try {
  const options = readOptions();
  if (options !== undefined) await run(options);
} catch (thrown) {
  const isSetUp = [ConfigError, DirectoryTaken, SocketTaken].some((kind) => thrown instanceof kind);
  say(messageOf(thrown));
  if (isSetUp) say('\n"cgn kvcached --help" says more.');
  process.exit(isSetUp ? 2 : 1);
}
