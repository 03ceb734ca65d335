/**
 * What the agent's own programs say of a recipe's configuration: what its engines would be started with, and what its
 * doctor finds on this host. The configuration lies in a file of its own for as long as they look; neither changes
 * anything.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isRecord, type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { type Finding, findingIn } from '../commands/doctor.ts';
import { UserError } from '../terminal.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const planProgram = join(root, 'node-agent/src/plan/main.ts');
const doctorProgram = join(root, 'node-agent/src/doctor/main.ts');

/** One engine as the agent would start it, but for its ports. */
export interface EnginePlan {
  readonly name: string;
  readonly profile: string;
  readonly role: string;
  readonly gpus: readonly number[];
  readonly program: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, string>>;
  /** The command that prints its release; undefined: there is none. */
  readonly release: readonly string[] | undefined;
}

export interface AgentFile {
  /** The text of the agent's file. */
  readonly agent: string;
  readonly dataDirectory: string;
  /** The edge that it is to join, or where its own would listen. */
  readonly edge: string;
}

interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly errors: string;
}

const run = (program: string, argv: readonly string[]): Promise<Ran> =>
  new Promise((accept, reject) => {
    const child = spawn(process.execPath, [program, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', errors: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said.out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said.errors += text;
    });
    child.once('error', reject);
    child.once('close', (status) => accept({ status, ...said }));
  });

/** Runs a program of the agent with the file as its configuration. */
const ask = async (program: string, { agent, dataDirectory, edge }: AgentFile): Promise<Ran> => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-recipe-'));
  try {
    const config = join(directory, 'agent.toml');
    writeFileSync(config, agent, { mode: 0o600 });
    const data = join(dataDirectory, 'agent');
    return await run(program, ['--config', config, '--edge', edge, '--data-dir', data]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

const textsIn = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : []);

const textMapIn = (value: unknown): Readonly<Record<string, string>> =>
  isRecord(value)
    ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, String(each)]))
    : {};

const planIn = (engine: JsonRecord): EnginePlan => {
  const program = String(engine.program);
  const release = textsIn(engine.release);
  return {
    name: String(engine.name),
    profile: String(engine.profile),
    role: String(engine.role),
    gpus: textsIn(engine.gpus).map(Number),
    program,
    argv: textsIn(engine.argv),
    environment: textMapIn(engine.environment),
    files: textMapIn(engine.files),
    release: release.length === 0 ? undefined : [String(engine.releaseProgram ?? program), ...release],
  };
};

/** Throws a `UserError` with the agent's own words where it would not take the file. */
export const planOf = async (file: AgentFile): Promise<readonly EnginePlan[]> => {
  const { status, out, errors } = await ask(planProgram, file);
  const engines = jsonRecordIn(out)?.engines;
  if (status !== 0 || !Array.isArray(engines))
    throw new UserError(errors.trim() || 'The agent said nothing.');
  return engines.filter(isRecord).map(planIn);
};

export const doctorOf = async (file: AgentFile): Promise<readonly Finding[]> => {
  const { out } = await ask(doctorProgram, file);
  return out.split('\n').flatMap((line) => findingIn(line) ?? []);
};
