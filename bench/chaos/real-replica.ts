/** A real engine (llama.cpp, the toy model) behind a recorder: killed, started again on its port, asked directly. */
import { join } from 'node:path';
import { startWorkerProcess, type WorkerProcess } from '../machine/worker-process.ts';
import { type Program, startProgram, waitUntil } from '../systems/program.ts';
import type { Recorded, RecorderAnswer, RecorderCommand } from './recorder-messages.ts';

export const realModel = 'tiny';
const enginePath = join(import.meta.dirname, '../../embedded-engine/src/main.ts');
/** The first start makes the model's file. */
const listenMsMax = 60_000;

export class RealReplica {
  readonly #directory: string;
  readonly #enter: readonly string[];
  readonly #recorder: WorkerProcess<RecorderCommand, RecorderAnswer>;
  #recorderPort = 0;
  #engine: Program | undefined;
  #port = 0;

  /** `enter` is a program that becomes the one behind it. */
  constructor(directory: string, enter: readonly string[]) {
    this.#directory = directory;
    this.#enter = enter;
    this.#recorder = startWorkerProcess(join(import.meta.dirname, 'recorder.ts'), enter);
  }

  /** Where its agent finds it. */
  get url(): string {
    return `http://127.0.0.1:${this.#recorderPort}`;
  }

  /** Resolves once it serves, or was killed before that. */
  async start(): Promise<void> {
    // Tokens of a toy come as fast as there is CPU: others go first.
    const [program = '', ...words] = [...this.#enter, 'nice', '-n', '4', process.execPath, enginePath];
    const options = ['--model', realModel, '--threads', '1', '--models-dir', this.#directory];
    const engine = startProgram(program, [...words, ...options, '--port', String(this.#port)], {
      COGNITORA_PARENT_PIPE: '1',
    });
    this.#engine = engine;
    const listening = (): string | undefined =>
      /"event":"listening","url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(engine.tail())?.[1];
    const isKilled = (): boolean => this.#engine !== engine;
    await waitUntil('the real engine', listenMsMax, async () => isKilled() || listening() !== undefined);
    if (isKilled()) return;
    this.#port = Number(listening());
    this.#recorderPort = (await this.#recorder.ask({ kind: 'engine', port: this.#port })).port;
  }

  /** To the engine itself, which is the process that was started: what enters its network and `nice` become it. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#engine?.child.kill(signal);
  }

  async kill(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop('SIGKILL');
  }

  async recorded(): Promise<readonly Recorded[]> {
    return (await this.#recorder.ask({ kind: 'recorded' })).recorded;
  }

  /** The answer to that body, without the edge and with nobody else there. */
  async askDirectly({ path, body }: Pick<Recorded, 'path' | 'body'>): Promise<string> {
    return (await this.#recorder.ask({ kind: 'ask', path, body })).text;
  }

  async stop(): Promise<void> {
    await this.kill();
    await this.#recorder.stop();
  }
}
