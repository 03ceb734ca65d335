/**
 * The gate's row for model bring-up: from starting `cgn up` on an installed tree, in an empty data directory,
 * until the first token of a streamed completion is here.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import { freePort } from '../../cli/src/free-port.ts';
import type { GateRow } from '../gate.ts';
import { monotonicUs } from '../machine/clock.ts';

const limitSeconds = 30;
const cgnPath = join(import.meta.dirname, '../../cli/src/cgn.ts');
const stopMsMax = 8_000;
const outputCharsMax = 4_000;

type Up = ReturnType<typeof spawn>;

/** The line of JSON that `cgn up --json` prints once requests are served. */
const readyLine = (child: Up): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    let complaint = '';
    const timer = setTimeout(() => reject(new Error(`not up within ${limitSeconds} s`)), limitSeconds * 1e3);
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`cgn up ended with status ${code}: ${complaint.trim().slice(-300)}`));
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      complaint = (complaint + bytes.toString()).slice(-outputCharsMax);
    });
    child.stdout?.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      const line = text.split('\n').find((candidate) => candidate.startsWith('{') && candidate.endsWith('}'));
      if (line === undefined) return;
      clearTimeout(timer);
      resolve(line);
    });
  });

const firstModel = async (url: string, authorization: string): Promise<string> => {
  const response = await fetch(`${url}/v1/models`, { headers: { authorization } });
  const list = parseJsonRecord(new Uint8Array(await response.arrayBuffer()), 'internal', '/v1/models');
  const [card] = Array.isArray(list.data) ? (list.data as readonly { readonly id: string }[]) : [];
  if (card === undefined) throw new Error('cgn up serves no model');
  return card.id;
};

/** Resolves with the first `data:` line that is not the end. */
const firstToken = async (url: string, authorization: string): Promise<void> => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: await firstModel(url, authorization),
      messages: [{ role: 'user', content: 'Say hello.' }],
      stream: true,
      max_tokens: 4,
    }),
  });
  let text = '';
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    if (/^data: \{.*"choices"/m.test(text)) return;
  }
  throw new Error(`no token came: ${response.status} ${text.slice(0, 200)}`);
};

const stop = async (child: Up): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
  await exited;
  clearTimeout(timer);
};

const attempt = async (): Promise<number> => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-gate-'));
  const port = String(await freePort());
  const startedUs = monotonicUs();
  const child = spawn(process.execPath, [cgnPath, 'up', '--json', '--port', port, '--data-dir', directory], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const endWithUs = (): void => {
    child.kill('SIGTERM');
  };
  process.once('exit', endWithUs);
  try {
    const line = parseJsonRecord(Buffer.from(await readyLine(child)), 'internal', 'cgn up --json');
    const reader: FieldReader = new FieldReader(line, 'internal', 'cgn up --json');
    await firstToken(reader.string('url', 256), `Bearer ${reader.string('apiKey', 512)}`);
    return (monotonicUs() - startedUs) / 1e6;
  } finally {
    process.removeListener('exit', endWithUs);
    await stop(child);
    rmSync(directory, { recursive: true, force: true });
  }
};

export const bringUp: GateRow = {
  name: 'model bring-up',
  goal: `first token < ${limitSeconds} s after cgn up, empty data directory`,
  unit: 's',
  limit: limitSeconds,
  attempt,
};
