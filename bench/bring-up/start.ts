/**
 * One `npm start` as a person does it, from the command to the first token: an empty data directory, the output read,
 * the printed `curl` sent. Knows the product by what it prints and nothing else, so that a person's wait is measured.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { freePort } from '../../cli/src/free-port.ts';
import { monotonicUs } from '../machine/clock.ts';

const root = join(import.meta.dirname, '../..');
/** Far beyond the goal, so that a miss still has a figure. */
const startMsMax = 120_000;
const stopMsMax = 10_000;

/** What a line says has happened. */
const stages: readonly (readonly [name: string, said: RegExp])[] = [
  ['edge listens', /^ *edge +listens at/],
  ['engine serves', /^ *engine +serving /],
  ['agent linked', /^ *agent +linked/],
  ['model answers', /^ *model +\S+ answers/],
  ['curl printed', /^ *Stop with Ctrl-C/],
];
export const stageNames: readonly string[] = [...stages.map(([name]) => name), 'first token'];

/** Seconds from the command to each stage. */
export type Start = Readonly<Record<string, number>>;

/** Hands on each line of a stream, and keeps the text. */
const follow = (stream: Readable, accept: (line: string, text: string) => void): void => {
  let text = '';
  let from = 0;
  stream.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    for (let end = text.indexOf('\n', from); end >= 0; end = text.indexOf('\n', from)) {
      const line = text.slice(from, end);
      from = end + 1;
      accept(line, text);
    }
  });
};

interface Pasted {
  readonly url: string;
  readonly authorization: string;
  readonly body: string;
}

export const printedCurl = (text: string): Pasted => {
  const pattern = /curl -N (\S+) \\\n.*authorization: (Bearer \S+)'.*\\\n *-d '(.*)'\n/;
  const [, url, authorization, body] = pattern.exec(text) ?? [];
  if (url === undefined || authorization === undefined || body === undefined) {
    throw new Error(`npm start printed no curl: ${text.slice(-500)}`);
  }
  return { url, authorization, body };
};

/** Resolves with what was printed once the last stage of `stages` is reached. */
const untilPrinted = (child: ChildProcess, reached: (stage: string) => void): Promise<string> =>
  new Promise((resolve, reject) => {
    const said: string[] = [];
    const late = setTimeout(() => reject(new Error(`not up within ${startMsMax} ms`)), startMsMax);
    const note = (line: string): void => {
      said.push(line);
      for (const [name, pattern] of stages) if (pattern.test(line)) reached(name);
    };
    child.once('exit', (code) => {
      clearTimeout(late);
      reject(new Error(`npm start ended with status ${code}: ${said.slice(-5).join(' | ')}`));
    });
    follow(child.stderr as Readable, note);
    follow(child.stdout as Readable, (line, text) => {
      note(line);
      if (!line.includes('Stop with Ctrl-C')) return;
      clearTimeout(late);
      resolve(text);
    });
  });

/** The delta that only names the role is no token. */
export const hasToken = (line: string): boolean => {
  const record = line.startsWith('data: {') ? jsonRecordIn(line.slice('data: '.length)) : undefined;
  const [choice] = (record?.choices ?? []) as readonly { readonly delta?: { readonly content?: unknown } }[];
  return typeof choice?.delta?.content === 'string' && choice.delta.content !== '';
};

const firstToken = async ({ url, authorization, body }: Pasted): Promise<void> => {
  const headers = { authorization, 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body });
  let text = '';
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    // Only whole lines.
    if (text.split('\n').slice(0, -1).some(hasToken)) return;
  }
  throw new Error(`no token came: ${response.status} ${text.slice(0, 200)}`);
};

/** As Ctrl-C in a terminal: the signal goes to the whole foreground group. */
const stop = async (child: ChildProcess): Promise<void> => {
  const group = -(child.pid ?? 0);
  if (child.exitCode !== null || child.signalCode !== null || group === 0) return;
  const closed = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  process.kill(group, 'SIGINT');
  const timer = setTimeout(() => process.kill(group, 'SIGKILL'), stopMsMax);
  await closed;
  clearTimeout(timer);
};

export const startOnce = async (): Promise<Start> => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-bring-up-'));
  const port = String(await freePort());
  const seconds: Record<string, number> = {};
  const startedUs = monotonicUs();
  const reached = (stage: string): void => {
    seconds[stage] ??= (monotonicUs() - startedUs) / 1e6;
  };
  const child = spawn('npm', ['start', '--', '--port', port, '--data-dir', directory], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const endWithUs = (): void => {
    process.kill(-(child.pid ?? 0), 'SIGTERM');
  };
  process.once('exit', endWithUs);
  try {
    await firstToken(printedCurl(await untilPrinted(child, reached)));
    reached('first token');
    return seconds;
  } finally {
    process.removeListener('exit', endWithUs);
    await stop(child);
    rmSync(directory, { recursive: true, force: true });
  }
};
