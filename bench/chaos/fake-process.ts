/** A fake engine's process as its parent has it: killed and started again on its port; its notes go to one ear. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { EngineMessage, EngineNote, EngineQuestion, EngineStart } from './engine-messages.ts';

const program = join(import.meta.dirname, 'engine-program.ts');

type Said<Kind extends EngineMessage['kind']> = Extract<EngineMessage, { readonly kind: Kind }>;

export class FakeProcess {
  readonly #onNote: (note: EngineNote) => void;
  readonly #enter: readonly string[];
  #start: EngineStart;
  #child: ChildProcess | undefined;

  /** `enter` is a program that becomes the one behind it. */
  constructor(
    start: Omit<EngineStart, 'port'>,
    enter: readonly string[],
    onNote: (note: EngineNote) => void,
  ) {
    this.#enter = enter;
    this.#start = { ...start, port: 0 };
    this.#onNote = onNote;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#start.port}`;
  }

  /** Listens where it listened before. */
  async start(): Promise<void> {
    const words = [...this.#enter, process.execPath, program, JSON.stringify(this.#start)];
    const stdio = ['inherit', 'inherit', 'inherit', 'ipc'] as const;
    const child = spawn(words[0] ?? '', words.slice(1), { stdio: [...stdio] });
    this.#child = child;
    child.on('message', (message) => {
      const said = message as EngineMessage;
      if (said.kind !== 'listening' && said.kind !== 'running') this.#onNote(said);
    });
    const { port } = await heard(child, 'listening');
    this.#start = { ...this.#start, port };
  }

  /** Requests under way; none in one that is down. */
  async live(): Promise<number> {
    const child = this.#child;
    if (child === undefined) return 0;
    const answer = heard(child, 'running');
    child.send('running' satisfies EngineQuestion);
    return (await answer).live;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  /** As a crash: no goodbye. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }
}

/** Its next message of that kind. */
const heard = <Kind extends EngineMessage['kind']>(child: ChildProcess, kind: Kind): Promise<Said<Kind>> =>
  new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('the fake engine ended'));
    const look = (message: unknown): void => {
      if ((message as EngineMessage).kind !== kind) return;
      child.off('message', look).off('exit', gone);
      resolve(message as Said<Kind>);
    };
    child.on('message', look).once('exit', gone);
  });
