/**
 * The program `cgn kvcached`: options in, signals in, one store and its faces. Says one line of JSON on standard output
 * once it serves; everything else goes to standard error. Ends in order: no new clients, what waits is written, gone.
 */
import { wallMs } from './clock.ts';
import { startMirror } from './faces/directory/mirror.ts';
import { startLocalServer } from './faces/local/server.ts';
import { refuseTaken } from './faces/local/socket-file.ts';
import { startRespServer } from './faces/resp/server.ts';
import { metricsText } from './metrics.ts';
import { Namespaces } from './namespaces.ts';
import { help, OptionError, parseOptions } from './options.ts';
import { startStatusServer } from './status-server.ts';
import { KvStore } from './store.ts';

const version = '0.1.0';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

const run = async (): Promise<void> => {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === undefined) {
    process.stdout.write(help);
    return;
  }
  const { ramBytesMax, ssd, resp, status, password, socket, namespacesPath, mirrors } = options;
  if (socket !== undefined) await refuseTaken(socket);
  const store = await KvStore.open({
    ramBytesMax,
    ssd,
    nowMs: wallMs,
    onError: (message) => say(`disk: ${message}`),
  });
  const onError = (thrown: unknown): void => say(`client: ${messageOf(thrown)}`);
  const server = await startRespServer({ store, listen: resp, password, version, nowMs: wallMs, onError });
  const namespaces = new Namespaces(namespacesPath, say);
  const shared = { store, namespaces, nowMs: wallMs, version, onError };
  const local =
    socket === undefined
      ? undefined
      : await startLocalServer({ ...shared, path: socket, peers: undefined, startedAtMs: wallMs() });
  const told = await startStatusServer(status, () => metricsText(store));
  const mirrored = await Promise.all(
    mirrors.map((one) => startMirror({ ...one, nowMs: wallMs, onError: say }, store)),
  );
  let isEnding = false;
  const end = async (): Promise<void> => {
    if (isEnding) return;
    isEnding = true;
    server.close();
    told.close();
    await local?.close();
    await Promise.all(mirrored.map((mirror) => mirror.close()));
    await store.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void end());
  const facts = {
    event: 'serving',
    resp: server.address(),
    status: told.address(),
    socket,
    values: store.ssd?.counts.values ?? 0,
  };
  process.stdout.write(`${JSON.stringify(facts)}\n`);
};

try {
  await run();
} catch (thrown) {
  say(
    thrown instanceof OptionError
      ? `${thrown.message}\n\n"cgn kvcached --help" says more.`
      : messageOf(thrown),
  );
  process.exit(thrown instanceof OptionError ? 2 : 1);
}
