/**
 * The production edge as a bench needs it: `startEdge` on the freshly built bundle in a temporary directory,
 * with an API key and join tokens made through its admin API.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseJsonRecord } from '@cognitora/protocol/shape';
import { freePort } from '../../cli/src/free-port.ts';
import { type EdgeOptions, type RunningEdge, startEdge } from '../../cli/src/workerd.ts';
import { buildEdge } from '../../scripts/build-edge.ts';

export interface EdgeUnderTest {
  readonly url: string;
  readonly port: number;
  readonly apiKey: string;
  readonly directory: string;
  /** A join token for so many hosts. */
  joinToken(uses: number): Promise<string>;
  /** `GET` or `POST` with the admin key; throws unless the answer is 2xx. */
  admin(method: string, path: string, body?: object): Promise<Readonly<Record<string, unknown>>>;
  readonly pid: () => number;
  /** Kills workerd without a word; `start` starts it again on the same port with the same state. */
  kill(): Promise<void>;
  start(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export const startEdgeUnderTest = async (
  layout: EdgeOptions['layout'],
  { host = '127.0.0.1', origins = [] }: Partial<Pick<EdgeOptions, 'host' | 'origins'>> = {},
): Promise<EdgeUnderTest> => {
  buildEdge();
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-bench-'));
  const adminKey = `cga_${randomBytes(24).toString('base64url')}`;
  const port = await freePort();
  const output: string[] = [];
  const options: EdgeOptions = {
    dataDirectory: directory,
    ...{ host, port, origins: [...origins, `http://${host}:${port}`] },
    regions: ['local'],
    layout,
    adminKeyHash: createHash('sha256').update(adminKey).digest('hex'),
    fleetSecret: randomBytes(32).toString('base64url'),
    onOutput: (line) => {
      output.push(line);
      if (output.length > 50) output.shift();
    },
    onExit: () => {},
  };
  let edge: RunningEdge = await startEdge(options);
  const killWithUs = (): void => {
    try {
      process.kill(edge.pid, 'SIGKILL');
    } finally {
      // What it wrote last may come while this goes on.
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    }
  };
  process.once('exit', killWithUs);
  const admin: EdgeUnderTest['admin'] = async (method, path, body) => {
    const response = await fetch(edge.url + path, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${Buffer.from(bytes)}\n${output.join('\n')}`);
    }
    return parseJsonRecord(bytes, 'internal', path);
  };
  const kill = async (): Promise<void> => {
    process.kill(edge.pid, 'SIGKILL');
    await edge.stop();
  };
  const start = async (): Promise<void> => {
    edge = await startEdge(options);
  };
  const { key } = await admin('POST', '/admin/keys', { name: 'bench', scopes: ['chat'] });
  return {
    url: edge.url,
    port,
    apiKey: String(key),
    directory,
    pid: () => edge.pid,
    admin,
    joinToken: async (uses) => String((await admin('POST', '/admin/join-tokens', { uses })).joinToken),
    ...{ kill, start },
    restart: async () => {
      await kill();
      await start();
    },
    stop: async () => {
      process.removeListener('exit', killWithUs);
      await edge.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
};
