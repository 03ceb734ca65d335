/**
 * Where the bench runs: Node and workerd, each started afresh for each cell. workerd gets one bundle, made by the
 * product's bundler.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../cli/src/free-port.ts';
import { startWorkerProcess } from '../machine/worker-process.ts';
import { startProgram, waitUntil } from '../systems/program.ts';
import type { CellFigures, Plan } from './measure.ts';

export interface Runtime {
  readonly name: string;
  measure(plan: Plan): Promise<CellFigures>;
}

const startMsMax = 15_000;
const compatibilityDate = '2026-10-20';

export const inNode: Runtime = {
  name: 'node',
  measure: async (plan) => {
    const child = startWorkerProcess<Plan, CellFigures>(join(import.meta.dirname, 'in-node.ts'));
    try {
      return await child.ask(plan);
    } finally {
      await child.stop();
    }
  },
};

const capnp = (port: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "bench", worker = .bench)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "bench")],
);
const bench :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "${compatibilityDate}",
);
`;

/** Bundles the worker into `directory`. */
const bundle = (directory: string): void => {
  const wrangler = join(import.meta.dirname, '../../node_modules/wrangler/bin/wrangler.js');
  execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', directory], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' },
  });
};

const workerdBinary = (): string => {
  const load = createRequire(import.meta.url);
  const { default: binary } = load('workerd') as { default: string };
  return binary;
};

/** workerd with the bundle; call `close` at the end. */
export const openWorkerd = (): Runtime & { close(): void } => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-bench-routing-'));
  bundle(directory);
  return {
    name: 'workerd',
    measure: async (plan) => {
      const port = await freePort();
      writeFileSync(join(directory, 'config.capnp'), capnp(port));
      const program = startProgram(workerdBinary(), ['serve', join(directory, 'config.capnp')], {});
      const url = `http://127.0.0.1:${port}/`;
      try {
        await waitUntil("workerd's start", startMsMax, async () => (await fetch(url)).status === 200);
        const answer = await fetch(url, { method: 'POST', body: JSON.stringify(plan) });
        if (answer.status !== 200) throw new Error(`workerd answered ${answer.status}`);
        return (await answer.json()) as CellFigures;
      } catch (thrown) {
        throw new Error(`${(thrown as Error).message}\n${program.tail()}`);
      } finally {
        await program.stop();
      }
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  };
};
