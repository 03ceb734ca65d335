/** Embedded engines (real llama.cpp, the toy model) as programs of a cluster. */
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import type { Program } from './program.ts';
import { until } from './until.ts';

const engineMain = join(import.meta.dirname, '../../embedded-engine/src/main.ts');
/** The first start makes the model's file. */
const listenMsMax = 50_000;

export interface EmbeddedEngine {
  readonly program: Program;
  readonly url: string;
}

/** Resolves once it listens with its model; `options` are more of its arguments. */
export const startEmbedded = async (
  cluster: Cluster,
  name: string,
  options: readonly string[] = [],
): Promise<EmbeddedEngine> => {
  const models = join(cluster.directory, 'models');
  const argv = [engineMain, '--model', 'tiny', '--models-dir', models, ...options];
  const program = cluster.startProgram(name, argv);
  const line = await until(
    `the embedded engine ${name} to serve`,
    () => {
      if (program.isGone) throw new Error(`the embedded engine ${name} ended\n${cluster.log.text()}`);
      return program.said.find(({ event }) => event === 'listening');
    },
    listenMsMax,
  );
  return { program, url: String(line.url) };
};
