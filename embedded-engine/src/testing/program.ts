/**
 * For tests: starts the real program, talks to it over HTTP, and reads its answers with wide types, because
 * a test asserts what is in them. Not part of the engine.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const main = path.join(import.meta.dirname, '..', 'main.ts');

export interface Listening {
  readonly event: string;
  readonly url: string;
  readonly model: string;
  readonly toy: boolean;
}

export interface Program {
  readonly child: ChildProcess;
  readonly stderr: () => string;
  readonly exit: Promise<number | null>;
  /** The first line on stdout, parsed; rejects when the program ends without one. */
  readonly line: Promise<Listening>;
}

const started = new Set<Program>();

/** Ends what is left of the programs that tests started, also after a test that failed half way. */
export async function endPrograms(): Promise<void> {
  for (const program of started) program.child.kill('SIGKILL');
  await Promise.all([...started].map((program) => program.exit));
}

export function startProgram(args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env } });
  let stderr = '';
  let stdout = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const line = new Promise<Listening>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      const [first, rest] = stdout.split('\n');
      if (rest !== undefined && first !== undefined) resolve(JSON.parse(first) as Listening);
    });
    child.once('exit', (code) => reject(new Error(`ended with ${code}: ${stderr}`)));
  });
  // A program that is meant to fail never prints its line.
  line.catch(() => undefined);
  const program: Program = { child, stderr: () => stderr, exit, line };
  started.add(program);
  return program;
}

export interface WireLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
  readonly top_logprobs: readonly WireLogprob[];
}

export interface WireChoice {
  readonly index: number;
  readonly text: string;
  readonly message: { readonly role: string; readonly content: string };
  readonly delta: { readonly role?: string; readonly content?: string };
  readonly finish_reason: string | null;
  readonly logprobs: {
    readonly content: readonly WireLogprob[];
    readonly tokens: readonly string[];
    readonly text_offset: readonly number[];
    readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  };
}

/** All that any route may answer; which of it is there is what tests find out. */
export interface Answer {
  readonly id: string;
  readonly object: string;
  readonly choices: readonly WireChoice[];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
    readonly prompt_tokens_details: { readonly cached_tokens: number };
  };
  readonly error: { readonly type: string; readonly param: string; readonly code: string };
  readonly data: readonly { readonly embedding: readonly number[] | string }[];
  readonly prompt: string;
  readonly content: string;
  readonly tokens: readonly number[];
  readonly n_saved: number;
  readonly n_restored: number;
  readonly n_erased: number;
}

export interface Client {
  readonly url: string;
  post(route: string, body: unknown): Promise<{ readonly status: number; readonly body: Answer }>;
  /** The chunks of a stream, after checking that it is one and ends as one. */
  chunks(route: string, body: Record<string, unknown>): Promise<Answer[]>;
  metric(name: string): Promise<number>;
}

export function createClient(url: string): Client {
  return {
    url,
    post: async (route, body) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const response = await fetch(url + route, { method: 'POST', body: text });
      return { status: response.status, body: (await response.json()) as Answer };
    },
    chunks: async (route, body) => {
      const request = { method: 'POST', body: JSON.stringify({ ...body, stream: true }) };
      const response = await fetch(url + route, request);
      const type = response.headers.get('content-type');
      if (!type?.startsWith('text/event-stream')) throw new Error(`not a stream: ${await response.text()}`);
      const events = (await response.text()).split('\n\n').filter((event) => event !== '');
      if (events.pop() !== 'data: [DONE]') throw new Error('the stream does not end with [DONE]');
      return events.map((event) => JSON.parse(event.slice('data: '.length)) as Answer);
    },
    metric: async (name) => {
      const page = await (await fetch(`${url}/metrics`)).text();
      return Number(new RegExp(`^cognitora_engine_${name} (.+)$`, 'm').exec(page)?.[1]);
    },
  };
}

/** Waits for something that happens soon but at no promised time. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await condition()) return;
    await sleep(20);
  }
  throw new Error('it never came true');
}

/** The only entry of a list, or the one at an index, which must be there. */
export function at<T>(list: readonly T[], index = 0): T {
  const entry = list.at(index);
  if (entry === undefined) throw new Error(`nothing at ${index}`);
  return entry;
}
