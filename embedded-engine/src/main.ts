/**
 * The program: arguments, the model, the server, and an orderly end. It wires the parts and decides nothing
 * else. Exit codes: 0 after a signal or the parent's end, 2 for what another start would only repeat (wrong arguments,
 * an unknown model, a file that is none, a download that was given up), 1 for the rest.
 */
import { help, type ParsedArguments, parseArguments, type Settings } from './arguments.ts';
import { systemClock } from './clock.ts';
import { ContextChanges } from './generation/context-changes.ts';
import { loadModel } from './generation/model.ts';
import { SequencePool } from './generation/pool.ts';
import type { Engine } from './http/engine.ts';
import { type EngineServer, openServer } from './http/server.ts';
import { BlockLedger } from './kv-events/blocks.ts';
import { type KvPublisher, openPublisher, silentPublisher } from './kv-events/publisher.ts';
import * as limits from './limits.ts';
import { createLog, type Log, messageOf } from './log.ts';
import { createCounters } from './metrics.ts';
import { DownloadError } from './models/download.ts';
import { resolveModel, WrongModel } from './models/resolve.ts';

async function openKvPublisher(
  settings: Settings,
  counters: Engine['counters'],
  log: Log,
): Promise<KvPublisher> {
  if (settings.kvEvents === undefined) return silentPublisher;
  const publisher = await openPublisher({
    endpoint: settings.kvEvents,
    replayEndpoint: settings.kvEventsReplay,
    blockTokens: settings.blockTokens,
    clock: systemClock,
    counters,
    log,
  });
  log({ event: 'note', message: `KV events at ${settings.kvEvents}`, endpoint: settings.kvEvents });
  return publisher;
}

interface Running {
  readonly server: EngineServer;
  readonly stop: AbortSignal;
}

/** Everything between the open port and the served model. */
async function bringUp(
  settings: Settings,
  running: Running,
  log: Log,
): Promise<{ engine: Engine; close(): void }> {
  const found = await resolveModel(
    { model: settings.model, modelsDir: settings.modelsDir, env: process.env, signal: running.stop },
    log,
  );
  const servedName = settings.servedName ?? found.name;
  log({ event: 'load', message: `loading ${found.path}`, path: found.path });
  const loaded = await loadModel({ ...settings, path: found.path, toy: found.toy }, log);
  const counters = createCounters();
  const publisher = await openKvPublisher(settings, counters, log);
  const engine: Engine = {
    servedName,
    toy: found.toy,
    loaded,
    counters,
    clock: systemClock,
    startedUnixSeconds: Math.floor(systemClock.unixSeconds()),
    chatTokensDefault: found.toy ? limits.toyCompletionTokensDefault : loaded.contextTokens,
    pool: new SequencePool({
      sequences: settings.sequences,
      waitingMax: limits.waitingRequestsMax,
      blockTokens: settings.blockTokens,
    }),
    slotSavePath: settings.slotSavePath,
    ledger: new BlockLedger(settings.sequences, settings.blockTokens),
    changes: new ContextChanges(),
    publish: (events) => publisher.publish(events),
  };
  return { engine, close: () => publisher.close() };
}

async function run(settings: Settings): Promise<void> {
  const startedMs = systemClock.monotonicMs();
  const log = createLog((line) => process.stderr.write(line), settings.progressJson);
  const stop = new AbortController();
  const server = await openServer(settings, log);
  let closeEngine = (): void => {};
  const end = (why: string): void => {
    if (stop.signal.aborted) return;
    stop.abort();
    log({ event: 'stop', message: `stopping: ${why}` });
    server.stop().then(
      () => {
        closeEngine();
        process.exit(0);
      },
      () => process.exit(0),
    );
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  if (process.env.COGNITORA_PARENT_PIPE === '1') {
    process.stdin.on('end', () => end('the parent is gone'));
    process.stdin.on('error', () => end('the parent is gone'));
    process.stdin.resume();
  }
  log({
    event: 'open',
    message: `the port is open at ${server.url}; it answers 503 until the model is loaded`,
    url: server.url,
  });
  const { engine, close } = await bringUp(settings, { server, stop: stop.signal }, log);
  closeEngine = close;
  if (stop.signal.aborted) return;
  server.serve(engine);
  const { contextTokens, threads } = engine.loaded;
  const seconds = ((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1);
  log({
    event: 'ready',
    message:
      `serving "${engine.servedName}" at ${server.url} after ${seconds} s: ` +
      `${settings.sequences} sequences of ${contextTokens} tokens, ${threads} thread(s)`,
    url: server.url,
    model: engine.servedName,
    toy: engine.toy,
    contextTokens,
    sequences: settings.sequences,
    threads,
  });
  const line = { event: 'listening', url: server.url, model: engine.servedName, toy: engine.toy };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const parsed: ParsedArguments = parseArguments(process.argv.slice(2), process.env);
if (parsed.kind === 'help') {
  process.stdout.write(help);
} else if (parsed.kind === 'wrong') {
  process.stderr.write(`engine: ${parsed.message}\n`);
  process.exitCode = 2;
} else {
  const { settings } = parsed;
  run(settings).catch((error: unknown) => {
    createLog(
      (line) => process.stderr.write(line),
      settings.progressJson,
    )({
      event: 'error',
      message: messageOf(error),
    });
    process.exit(error instanceof WrongModel || error instanceof DownloadError ? 2 : 1);
  });
}
