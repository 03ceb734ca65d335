/**
 * The edge on this machine: plain workerd around the bundle that `wrangler deploy --dry-run` builds. Writes its
 * configuration, starts it, learns its port, stops it. Secrets travel in the environment, never in argv or a file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { reportHangUps } from './hang-ups.ts';
import { eachLine } from './lines.ts';
import { wordsOf } from './process-words.ts';

export interface EdgeOptions {
  readonly dataDirectory: string;
  /** Interface and port; port 0 takes a free one. */
  readonly host: string;
  readonly port: number;
  readonly regions: readonly string[];
  readonly layout: 'one-object' | 'object-per-node';
  /** Hex SHA-256 of the admin key. */
  readonly adminKeyHash: string;
  readonly fleetSecret: string;
  /** More origins under which agents reach this edge, such as a proxy's. */
  readonly origins: readonly string[];
  /** Replicas of one cell, where they are to be fewer than a prefix map can tell apart. */
  readonly cellReplicasMax?: number;
  /** Where workerd's own output goes. */
  readonly onOutput: (line: string) => void;
  /** Called once, before it listens. */
  readonly onSpawn?: (pid: number) => void;
  /** Called once, when the process is gone. */
  readonly onExit: (code: number | null, signal: NodeJS.Signals | null) => void;
}

/** Ends a workerd that an earlier, killed `cgn up` left behind on this data directory; resolves once it is gone. */
export const reapStaleEdge = async (dataDirectory: string): Promise<void> => {
  const directory = join(dataDirectory, 'edge');
  const pidPath = join(directory, 'workerd.pid');
  if (!existsSync(pidPath)) return;
  const pid = Number(readFileSync(pidPath, 'utf8'));
  rmSync(pidPath, { force: true });
  if (!servesFrom(directory, pid)) return;
  process.kill(pid, 'SIGKILL');
  // Its port is free only once it is gone.
  for (let waitedMs = 0; waitedMs < reapMsMax && servesFrom(directory, pid); waitedMs += reapPollMs) {
    await delay(reapPollMs);
  }
};

/** Whether that process is a workerd with our configuration: pids are used again. */
const servesFrom = (directory: string, pid: number): boolean => {
  const words = wordsOf(pid);
  return words.includes('serve') && words.includes(join(directory, 'config.capnp'));
};

export interface RunningEdge {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** SIGTERM, then SIGKILL: an open link would keep workerd waiting. Data is on disk before it is used. */
  stop(): Promise<void>;
}

/** How long a killed workerd may take to be gone, and between two looks. */
const reapMsMax = 2_000;
const reapPollMs = 20;
const startMsMax = 15_000;
/** How long workerd may drain before it is killed; its clients have had their GOAWAY. */
const stopMsMax = 1_500;

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const bundlePath = join(root, 'edge/dist/worker.js');

const workerdBinary = (): string => {
  const path = createRequire(import.meta.url).resolve('workerd');
  const { default: binary } = createRequire(import.meta.url)(path) as { default: string };
  return binary;
};

/** Reads the two lines of wrangler.toml that both ways of running share. */
const compatibility = (): { readonly date: string; readonly flags: string } => {
  const toml = readFileSync(join(root, 'wrangler.toml'), 'utf8');
  const date = /^compatibility_date = "([^"]+)"/m.exec(toml)?.[1] ?? '';
  const flags = /^compatibility_flags = (\[[^\]]*\])/m.exec(toml)?.[1] ?? '[]';
  return { date, flags };
};

const quoted = (text: string): string => JSON.stringify(text);

/**
 * The configuration. A uniqueKey names the folder of a class's objects: never change one. The Worker has no way out:
 * its global outbound network allows nothing.
 */
const capnp = (options: EdgeOptions, directory: string, origins: readonly string[]): string => {
  const { date, flags } = compatibility();
  const classes = ['Region', 'NodeLink', 'Registry'];
  const namespaces = classes.map(
    (name) => `(className = ${quoted(name)}, uniqueKey = "cognitora-${name}", enableSql = true)`,
  );
  const objects = [
    ['REGION', 'Region'],
    ['NODE_LINK', 'NodeLink'],
    ['REGISTRY', 'Registry'],
  ].map(([binding, name]) => `(name = "${binding}", durableObjectNamespace = "${name}")`);
  const texts = {
    REGIONS: options.regions.join(','),
    LAYOUT: options.layout,
    PLATFORM: 'self-hosted',
    ORIGINS: origins.join(','),
    ...(options.cellReplicasMax === undefined ? {} : { CELL_REPLICAS_MAX: String(options.cellReplicasMax) }),
  };
  const variables = Object.entries(texts).map(([name, text]) => `(name = "${name}", text = ${quoted(text)})`);
  const secrets = ['ADMIN_KEY_HASH', 'FLEET_SECRET'].map(
    (name) => `(name = "${name}", fromEnvironment = "${name}")`,
  );
  const address = `${options.host}:${options.port}`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "nowhere", network = (allow = [])),
    (name = "objects", disk = (path = ${quoted(join(directory, 'objects'))}, writable = true)),
  ],
  sockets = [(name = "http", address = ${quoted(address)}, http = (), service = "edge")],
);
const edge :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed ${quoted(relative(directory, bundlePath))})],
  compatibilityDate = ${quoted(date)},
  compatibilityFlags = ${flags},
  globalOutbound = "nowhere",
  durableObjectStorage = (localDisk = "objects"),
  durableObjectNamespaces = [${namespaces.join(', ')}],
  bindings = [${[...objects, ...variables, ...secrets].join(', ')}],
);
`;
};

/** The port that workerd reports on its control pipe. */
const listeningPort = (control: Readable, child: ChildProcess): Promise<number> =>
  new Promise((accept, reject) => {
    const timer = setTimeout(() => reject(new Error('workerd did not start in time')), startMsMax);
    eachLine(control, (line) => {
      const port = /"event":"listen".*"port":(\d+)/.exec(line)?.[1];
      if (port !== undefined) accept(Number(port));
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`workerd ended with status ${code ?? 'signal'}`)));
    child.once('spawn', () => timer.unref());
  });

/** Under a umask of its own: the databases it makes hold key hashes, which are for their owner alone. */
const spawnWorkerd = (options: EdgeOptions, configPath: string): ChildProcess => {
  const umask = process.umask(0o077);
  try {
    return spawn(workerdBinary(), ['serve', '--control-fd=3', configPath], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      detached: true,
      env: {
        PATH: process.env.PATH,
        ADMIN_KEY_HASH: options.adminKeyHash,
        FLEET_SECRET: options.fleetSecret,
      },
    });
  } finally {
    process.umask(umask);
  }
};

/** Writes down whom to end should we be killed, at once: a workerd nobody knows of would keep its port. */
export const rememberPid = (child: ChildProcess, pidPath: string): number => {
  const pid = child.pid ?? 0;
  try {
    writeFileSync(pidPath, `${pid}\n`, { mode: 0o600 });
  } catch (thrown) {
    child.kill('SIGKILL');
    throw thrown;
  }
  return pid;
};

/** Starts the edge and waits until it listens. Rejects with what to do when it can't. */
export const startEdge = async (options: EdgeOptions): Promise<RunningEdge> => {
  const directory = join(options.dataDirectory, 'edge');
  mkdirSync(join(directory, 'objects'), { recursive: true, mode: 0o700 });
  const local = [`http://127.0.0.1:${options.port}`, `http://localhost:${options.port}`];
  const configPath = join(directory, 'config.capnp');
  writeFileSync(configPath, capnp(options, directory, [...local, ...options.origins]), { mode: 0o600 });
  chmodSync(configPath, 0o600);
  const child = spawnWorkerd(options, configPath);
  const pidPath = join(directory, 'workerd.pid');
  const pid = rememberPid(child, pidPath);
  options.onSpawn?.(pid);
  let refusal = '';
  for (const stream of [child.stdout, child.stderr]) {
    eachLine(stream as Readable, (line) => {
      if (/address already in use/i.test(line))
        refusal = `port ${options.port} is in use; choose another with --port`;
      options.onOutput(line);
    });
  }
  const exited = new Promise<void>((accept) => child.once('exit', () => accept()));
  child.once('exit', options.onExit);
  const port = await listeningPort(child.stdio[3] as Readable, child).catch((thrown: Error) => {
    child.kill('SIGKILL');
    rmSync(pidPath, { force: true });
    throw new Error(`The edge did not start: ${refusal || thrown.message}.`);
  });
  const url = `http://${options.host}:${port}`;
  const hangUps = reportHangUps({ edgeUrl: url, host: options.host, port, fleetSecret: options.fleetSecret });
  child.once('exit', () => hangUps.stop());
  return {
    url,
    port,
    pid,
    stop: async () => {
      hangUps.stop();
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
      await exited;
      clearTimeout(timer);
      rmSync(pidPath, { force: true });
    },
  };
};
