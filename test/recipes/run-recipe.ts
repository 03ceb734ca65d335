/** What tests of `cgn recipe up` share: its scripts, what it answers, and a directory that nothing outlives. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import OpenAI from 'openai';
import { onTestFinished } from 'vitest';
import { type Ran, temporaryDirectory } from '../cli/run-cgn.ts';
import { leftoversOf } from '../harness/leftovers.ts';

export interface UpAnswer {
  readonly ok: boolean;
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  readonly stagesMs: Readonly<Record<string, number>>;
  readonly checks: readonly {
    readonly what: string;
    readonly outcome: string;
    readonly says: string;
    readonly fix?: string;
  }[];
}

/** Gone with its test, and whatever still runs on it. */
export const newDirectory = (): string => {
  const directory = temporaryDirectory();
  onTestFinished(() => {
    for (const { pid } of leftoversOf(directory)) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
};

/** A script of a recipe, as somebody starts it in a shell. */
export const runScript = (
  path: string,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<Ran> =>
  new Promise((accept, reject) => {
    const child = spawn(path, [...argv], { stdio: ['ignore', 'pipe', 'pipe'], env });
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

/** When the first token of a stream is there. */
export const untilFirstToken = async ({ url, apiKey, model }: UpAnswer): Promise<void> => {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 30_000 });
  const stream = await sdk.chat.completions.create({
    ...{ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 8, stream: true },
  });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) return;
  throw new Error('the stream had no token');
};
