/**
 * Processes that render and tokenise, one for each model's directory, shared by the replicas that have it. What they
 * are given is hostile until shown otherwise: each question has a time and the process a memory, and one that takes
 * more of either is killed; a model that needs that again and again is not asked any more. A thread would not do: one
 * that leaves its heap no room ends all others. Owns the processes, decides nothing of prompts.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { messageOf } from '@cognitora/protocol/errors';
import { NoSuchWay, NotAsked } from '../outcome.ts';
import type { PromptAnswer, PromptQuestion } from './prompt-process.ts';

/** 128 k tokens take two seconds, more beside others. */
export const promptMsMax = 15_000;
/** A vocabulary of 100,000 tokens takes 1.2 s and 75 MB. */
const loadMsMax = 60_000;
const memoryMbMax = 1_024;
/** Processes of one model that had to be ended, before it is given up. */
const endedMax = 3;
/** Models of one host that are rendered here at a time: of more the later ones are not. */
const processesMax = 8;

type Shown = PromptAnswer & { readonly kind: 'prompt' };

interface ProcessLimits {
  readonly promptMsMax: number;
  readonly memoryMbMax: number;
}

const limitsDefault: ProcessLimits = { promptMsMax, memoryMbMax };

const program = new URL('./prompt-process.ts', import.meta.url);

/** What the agent was started with is none of its business, nor may it speak in the agent's place. */
const started = (directory: string, { promptMsMax, memoryMbMax }: ProcessLimits): ChildProcess => {
  const { PATH } = process.env;
  // It may take longer only when nobody is left to kill it.
  const child = fork(program, [directory, String(2 * promptMsMax)], {
    execArgv: [`--max-old-space-size=${memoryMbMax}`],
    ...{ env: PATH === undefined ? {} : { PATH }, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] },
    serialization: 'advanced',
  });
  child.unref();
  child.channel?.unref();
  // An error that nobody listens for would end the agent.
  child.on('error', () => {});
  return child;
};

export class TokenizerProcess {
  readonly #directory: string;
  readonly #limits: ProcessLimits;
  #child: Promise<ChildProcess> | undefined;
  /** Questions, one after the other. Who asks waits for the answer: there are no more than replicas of the model. */
  #last: Promise<unknown> = Promise.resolve();
  #ended = 0;
  /** Why nothing is asked any more. */
  #unusable: string | undefined;

  constructor(directory: string, limits = limitsDefault) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /** Rejects with `NoSuchWay` when these files are of no use, with `NotAsked` when this prompt took too much. */
  ask(question: PromptQuestion): Promise<Shown> {
    const asked = this.#last.then(() => this.#ask(question));
    this.#last = asked.catch(() => {});
    return asked;
  }

  close(): void {
    this.#unusable = 'closed';
    const ending = this.#child;
    this.#child = undefined;
    void ending?.then((child) => child.kill('SIGKILL')).catch(() => {});
  }

  async #ask(question: PromptQuestion): Promise<Shown> {
    if (this.#unusable !== undefined) throw new NoSuchWay(this.#unusable);
    this.#child ??= this.#start();
    const child = await this.#child;
    const answer = await this.#answerOf(child, this.#limits.promptMsMax, question);
    if (answer.kind !== 'prompt') throw new NotAsked('the process said something else');
    return answer;
  }

  async #start(): Promise<ChildProcess> {
    const child = started(this.#directory, this.#limits);
    const answer = await this.#answerOf(child, loadMsMax);
    if (answer.kind === 'loaded') return child;
    this.#unusable = answer.kind === 'unusable' ? answer.why : 'the process said something else';
    child.kill('SIGKILL');
    throw new NoSuchWay(this.#unusable);
  }

  /** The next thing that it says. A process that does not say it in time, or ends, is gone. */
  async #answerOf(child: ChildProcess, msMax: number, question?: PromptQuestion): Promise<PromptAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<PromptAnswer>();
    const timer = setTimeout(() => reject(new Error(`no answer within ${msMax} ms`)), msMax);
    const gone = (...why: unknown[]): void => reject(new Error(`its process ended: ${why.join(' ')}`));
    child.once('message', resolve).once('error', gone).once('exit', gone);
    // One that ended while nobody asked says nothing more.
    if (child.exitCode !== null || child.signalCode !== null) gone(child.exitCode, child.signalCode);
    else if (question !== undefined) child.send(question, (thrown) => thrown !== null && gone(thrown));
    try {
      return await promise;
    } catch (thrown) {
      this.#lost(child, messageOf(thrown));
      throw new NotAsked(String(thrown));
    } finally {
      clearTimeout(timer);
      child.removeListener('message', resolve).removeListener('error', gone).removeListener('exit', gone);
    }
  }

  #lost(child: ChildProcess, why: string): void {
    child.kill('SIGKILL');
    this.#child = undefined;
    this.#ended += 1;
    if (this.#ended >= endedMax) this.#unusable ??= `given up after ${endedMax} processes: ${why}`;
  }
}

export class TokenizerProcesses {
  readonly #processes = new Map<string, { readonly process: TokenizerProcess; users: number }>();
  readonly #limits: ProcessLimits;

  constructor(limits = limitsDefault) {
    this.#limits = limits;
  }

  /** Undefined: there are too many. Whoever takes one gives it back. */
  take(directory: string): TokenizerProcess | undefined {
    const taken = this.#processes.get(directory);
    if (taken === undefined && this.#processes.size >= processesMax) return undefined;
    const entry = taken ?? { process: new TokenizerProcess(directory, this.#limits), users: 0 };
    entry.users += 1;
    this.#processes.set(directory, entry);
    return entry.process;
  }

  /** Of who has taken it. */
  taken(directory: string): TokenizerProcess | undefined {
    return this.#processes.get(directory)?.process;
  }

  giveBack(directory: string): void {
    const entry = this.#processes.get(directory);
    if (entry === undefined) return;
    entry.users -= 1;
    if (entry.users > 0) return;
    this.#processes.delete(directory);
    entry.process.close();
  }
}
