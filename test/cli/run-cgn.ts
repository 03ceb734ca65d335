/** `cgn` as a person runs it: a process with arguments, a status and what it prints; and `cgn up` while it runs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import OpenAI from 'openai';
import { freePort } from '../../cli/src/free-port.ts';
import { environmentAt } from '../harness/environment.ts';
import { leftoversOf } from '../harness/leftovers.ts';
import { until } from '../harness/until.ts';

const program = join(resolve(import.meta.dirname, '../..'), 'cli/src/cgn.ts');
/** A start on two busy cores, the bundle's build included. */
const upMsMax = 45_000;

export interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly errors: string;
}

type Environment = Readonly<Record<string, string>>;

const start = (argv: readonly string[], environment: Environment): ChildProcess =>
  spawn(process.execPath, [program, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environmentAt('/nonexistent'), ...environment },
  });

const collected = (child: ChildProcess): { out: string; errors: string } => {
  const said = { out: '', errors: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said.out += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said.errors += text;
  });
  return said;
};

/** A command under way. */
export interface RunningCgn {
  readonly said: { out: string; errors: string };
  readonly exited: Promise<number | null>;
  signal(name: NodeJS.Signals): void;
}

export const startCgn = (argv: readonly string[], environment: Environment = {}): RunningCgn => {
  const child = start(argv, environment);
  return {
    said: collected(child),
    exited: new Promise((accept) => child.once('close', accept)),
    signal: (name) => child.kill(name),
  };
};

/** Runs a command to its end. */
export const cgn = (argv: readonly string[], environment: Environment = {}): Promise<Ran> => {
  const child = start(argv, environment);
  const said = collected(child);
  return new Promise((accept) => child.once('close', (status) => accept({ status, ...said })));
};

/** Runs a command that must succeed and print one JSON value. */
export const cgnJson = async <Value>(argv: readonly string[], environment?: Environment): Promise<Value> => {
  const { status, out, errors } = await cgn([...argv, '--json'], environment);
  if (status !== 0) throw new Error(`cgn ${argv.join(' ')} ended with ${status}: ${errors}${out}`);
  return JSON.parse(out) as Value;
};

export interface Told {
  readonly url: string;
  readonly apiKey: string;
  readonly adminKey: string;
  readonly joinToken: string;
  readonly pid: number;
}

/** A data directory that is gone with its test. */
export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), 'cognitora-cli-'));

/** A `cgn up` under way. */
export class Up {
  readonly directory: string;
  readonly exited: Promise<number | null>;
  readonly said: { out: string; errors: string };
  readonly #child: ChildProcess;
  told!: Told;
  isGone = false;

  constructor(directory: string, child: ChildProcess) {
    this.directory = directory;
    this.#child = child;
    this.said = collected(child);
    this.exited = new Promise((accept) => {
      child.once('close', (status, signal) => {
        this.isGone = true;
        accept(signal === null ? status : null);
      });
    });
  }

  /** Waits for its one line of JSON. */
  async ready(): Promise<this> {
    const line = await until(
      'cgn up to serve',
      () => {
        if (this.isGone) throw new Error(`cgn up ended: ${this.said.errors}`);
        return this.said.out.includes('\n') && this.said.out;
      },
      upMsMax,
    );
    this.told = JSON.parse(line) as Told;
    return this;
  }

  /** Waits for all that it prints to a person, and returns that. */
  readyInWords(): Promise<string> {
    return until(
      'cgn up to say that it serves',
      () => {
        if (this.isGone) throw new Error(`cgn up ended: ${this.said.errors}`);
        return this.said.out.includes('Stop with Ctrl-C.') && this.said.out;
      },
      upMsMax,
    );
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Asks it to end, as Ctrl-C does, and removes its directory. */
  async down(): Promise<void> {
    this.signal('SIGINT');
    await this.exited;
    for (const { pid } of leftoversOf(this.directory)) process.kill(pid, 'SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  sdk(apiKey: string = this.told.apiKey): OpenAI {
    return new OpenAI({ baseURL: `${this.told.url}/v1`, apiKey, maxRetries: 0, timeout: 30_000 });
  }
}

/** Starts `cgn up` on a free port as a person does; `argv` may say more. */
export const startUpByHand = async (
  directory: string,
  argv: readonly string[] = [],
  environment: Environment = {},
): Promise<Up> => {
  const port = argv.includes('--port') ? [] : ['--port', String(await freePort())];
  return new Up(directory, start(['up', '--data-dir', directory, ...port, ...argv], environment));
};

/** Starts `cgn up --json` on a free port; `argv` may say more. */
export const startUp = (directory: string, argv: readonly string[] = [], environment?: Environment) =>
  startUpByHand(directory, ['--json', ...argv], environment);

/** `npm start` as the README has it, with `--json` on a free port. What is signalled is npm. */
export const startNpm = async (directory: string): Promise<Up> => {
  const argv = ['start', '--silent', '--', '--json', '--data-dir', directory];
  const child = spawn('npm', [...argv, '--port', String(await freePort())], {
    cwd: resolve(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...environmentAt('/nonexistent'),
      ...{ npm_config_cache: join(directory, 'npm'), npm_config_update_notifier: 'false' },
    },
  });
  return new Up(directory, child);
};

/** Every descendant of a process, by what /proc says now. */
export const descendantsOf = (pid: number): number[] => {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // It ended between the listing and now.
    }
  }
  const found: number[] = [];
  const visit = (parent: number): void => {
    for (const child of children.get(parent) ?? []) {
      found.push(child);
      visit(child);
    }
  };
  visit(pid);
  return found;
};
