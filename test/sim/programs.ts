/**
 * The programs under test, bundled from their sources as they are, and made anew for each process that runs them: with
 * module state of their own and with the globals of that process. A patch plants a bug while they are bundled.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { build, type Plugin } from 'esbuild';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** One string of one source file, which occurs there once, and what stands there instead. */
export interface Patch {
  readonly path: string;
  readonly find: string;
  readonly replace: string;
}

type Exports = Readonly<Record<string, unknown>>;

/** Makes a program's modules anew; `modules` stand in the place of those that it would import from outside. */
export type Program = (globals: Exports, modules: Exports) => Exports;

export interface Programs {
  readonly edge: Program;
  readonly agent: Program;
}

const entries = {
  edge: `
    export { default as worker, Region, NodeLink, Registry } from './edge/src/worker.ts';
    export { bodyBytesTaken } from './edge/src/body-budget.ts';
    export { mintToken, tokenHash } from './edge/src/identity/tokens.ts';
  `,
  agent: `
    export { Agent } from './node-agent/src/daemon.ts';
    export { attachedSource } from './node-agent/src/engines/source.ts';
    export { parseConfig } from './node-agent/src/config/parse.ts';
    export { knownProfiles } from './node-agent/src/engines/known-profiles.ts';
  `,
};

const durableObject = `
  export class DurableObject {
    constructor(ctx, env) {
      this.ctx = ctx;
      this.env = env;
    }
  }
`;

const sources = (patch: Patch | undefined, onPatched: () => void): Plugin => ({
  name: 'sources',
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^cloudflare:workers$/ }, () => ({ path: 'workers', namespace: 'platform' }));
    onLoad({ filter: /.*/, namespace: 'platform' }, () => ({ contents: durableObject, loader: 'js' }));
    if (patch === undefined) return;
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      if (relative(root, path) !== patch.path) return undefined;
      const parts = readFileSync(path, 'utf8').split(patch.find);
      if (parts.length !== 2) throw new Error(`${patch.path} has ${parts.length - 1} times: ${patch.find}`);
      onPatched();
      return { contents: parts.join(patch.replace), loader: 'ts' };
    });
  },
});

/** The last word on what a program sees: all globals that would let the real world in. */
const shadowed = [
  ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'],
  ...['Date', 'Math', 'performance', 'crypto', 'AbortSignal', 'console'],
  ...['Response', 'WebSocketPair', 'WebSocketRequestResponsePair', 'FixedLengthStream', 'fetch'],
];

const load = async (name: keyof Programs, plugins: Plugin[]): Promise<Program> => {
  const { outputFiles } = await build({
    stdin: { contents: entries[name], resolveDir: root, loader: 'ts' },
    ...{ bundle: true, write: false, format: 'cjs', platform: 'node', target: 'esnext', logLevel: 'silent' },
    external: ['undici', 'ws', 'zeromq', 'msgpackr', 'smol-toml', '@huggingface/*', 'node:*'],
    define: { 'import.meta.url': JSON.stringify(import.meta.url) },
    plugins,
  });
  const text = outputFiles[0]?.text ?? '';
  const wrapped = `(function (require, module, exports, ${shadowed.join(', ')}) {${text}\n})`;
  const make = new Script(wrapped, { filename: `${name}.js` }).runInThisContext() as (
    ...values: unknown[]
  ) => void;
  const requireOurs = createRequire(join(root, 'node-agent/package.json'));
  return (globals, modules) => {
    const module: { exports: Exports } = { exports: {} };
    const require = (wanted: string): unknown => modules[wanted] ?? requireOurs(wanted);
    make(require, module, module.exports, ...shadowed.map((shadow) => globals[shadow]));
    return module.exports;
  };
};

/** Bundles both. Throws where a patch finds its string not at all, or more than once. */
export const loadPrograms = async (patch?: Patch): Promise<Programs> => {
  let isPatched = patch === undefined;
  const plugins = [
    sources(patch, () => {
      isPatched = true;
    }),
  ];
  const [edge, agent] = await Promise.all([load('edge', plugins), load('agent', plugins)]);
  if (!isPatched) throw new Error(`${patch?.path} is no part of what is simulated`);
  return { edge, agent };
};
