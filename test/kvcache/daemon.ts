/** The program `kvcache/src/main.ts` on free ports, and a client that speaks bytes: written from Redis' documents. */
import { spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { temporaryDirectory } from './values.ts';

const program = join(import.meta.dirname, '../../kvcache/src/main.ts');

export interface Daemon {
  readonly port: number;
  readonly statusUrl: string;
  /** Where an agent finds it. */
  readonly socket: string;
  readonly values: number;
  readonly pid: number;
  /** Sends the signal and resolves with how it ended. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>;
}

interface Address {
  readonly port: number;
}

/** With a directory of its own, unless the options name one. */
export const startDaemon = (...options: readonly string[]): Promise<Daemon> => startDaemonIn({}, ...options);

/** With these variables in its environment. */
export const startDaemonIn = async (
  environment: Readonly<Record<string, string>>,
  ...options: readonly string[]
): Promise<Daemon> => {
  const own = options.includes('--data-dir') ? [] : ['--data-dir', temporaryDirectory()];
  const argv = [program, '--listen', '127.0.0.1:0', '--status', '127.0.0.1:0', ...own, ...options];
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'], env });
  onTestFinished(() => void child.kill('SIGKILL'));
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`the daemon ended with ${code}`)));
  });
  const { resp, status, socket, values } = JSON.parse(line) as {
    readonly resp: Address;
    readonly status: Address;
    readonly socket: string;
    readonly values: number;
  };
  return {
    port: resp.port,
    statusUrl: `http://127.0.0.1:${status.port}`,
    socket,
    values,
    pid: child.pid ?? 0,
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
};

export type Answer = string | number | Buffer | null;

/** One command after the other; each is answered before the next is sent. */
export class Client {
  readonly #socket: Socket;
  #got = Buffer.alloc(0);
  #wake = (): void => {};
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#got = Buffer.concat([this.#got, bytes]);
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  static async open(port: number): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Client(socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Undefined: the connection ended before it was answered. */
  async ask(...words: readonly (string | Buffer)[]): Promise<Answer | undefined> {
    this.#socket.write(`*${words.length}\r\n`);
    for (const word of words) {
      this.#socket.write(`$${Buffer.byteLength(word)}\r\n`);
      this.#socket.write(word);
      this.#socket.write('\r\n');
    }
    for (;;) {
      const answer = this.#take();
      if (answer !== undefined) return answer;
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(): Answer | undefined {
    const end = this.#got.indexOf('\r\n');
    if (end === -1) return undefined;
    const line = this.#got.toString('latin1', 0, end);
    if (line[0] !== '$' || line === '$-1') {
      this.#got = this.#got.subarray(end + 2);
      if (line === '$-1') return null;
      return line[0] === ':' ? Number(line.slice(1)) : line;
    }
    const length = Number(line.slice(1));
    if (this.#got.length < end + 2 + length + 2) return undefined;
    const bytes = Buffer.from(this.#got.subarray(end + 2, end + 2 + length));
    this.#got = this.#got.subarray(end + 2 + length + 2);
    return bytes;
  }
}
