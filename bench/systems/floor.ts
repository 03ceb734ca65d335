/**
 * The floor of the platform: a bare Worker `fetch` proxy in the same workerd, with neither key nor choice nor
 * link.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../cli/src/free-port.ts';
import { startProgram, waitUntil } from './program.ts';
import type { System } from './system.ts';

const workerPath = join(import.meta.dirname, '../overhead/floor-worker.js');
const startMsMax = 15_000;

const workerdBinary = (): string => {
  const load = createRequire(import.meta.url);
  const { default: binary } = load('workerd') as { default: string };
  return binary;
};

const compatibilityDate = (): string => {
  const toml = readFileSync(join(import.meta.dirname, '../../wrangler.toml'), 'utf8');
  return /^compatibility_date = "([^"]+)"/m.exec(toml)?.[1] ?? '2026-10-20';
};

const capnp = (port: number, enginePort: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "floor", worker = .floor),
    (name = "loopback", network = (allow = ["private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "floor")],
);
const floor :Workerd.Worker = (
  modules = [(name = "floor-worker.js", esModule = embed "floor-worker.js")],
  compatibilityDate = "${compatibilityDate()}",
  globalOutbound = "loopback",
  bindings = [(name = "ENGINE", text = "http://127.0.0.1:${enginePort}")],
);
`;

export const floor: System = {
  name: 'floor',
  start: async (enginePort) => {
    const directory = mkdtempSync(join(tmpdir(), 'cognitora-bench-floor-'));
    const port = await freePort();
    writeFileSync(join(directory, 'floor-worker.js'), readFileSync(workerPath));
    writeFileSync(join(directory, 'config.capnp'), capnp(port, enginePort));
    const program = startProgram(workerdBinary(), ['serve', join(directory, 'config.capnp')], {});
    const isThere = async (): Promise<boolean> =>
      (await fetch(`http://127.0.0.1:${port}/bench/v1/models`)).status === 200;
    const stop = async (): Promise<void> => {
      await program.stop();
      rmSync(directory, { recursive: true, force: true });
    };
    await waitUntil("the floor's start", startMsMax, isThere).catch(async (thrown: Error) => {
      await stop();
      throw new Error(`${thrown.message}\n${program.tail()}`);
    });
    return {
      target: { host: '127.0.0.1', port, path: '/%/v1/chat/completions', headers: {} },
      pids: { edge: program.pid },
      stop,
    };
  },
};
