/**
 * Threads that render and tokenise, one for each model's directory, shared by the replicas that have it. What they are
 * given is hostile until shown otherwise: each question has a time and the thread a memory, and one that takes more of
 * either is ended; a model that needs that again and again is not asked any more. Owns the threads, decides nothing of
 * prompts.
 */
import { Worker } from 'node:worker_threads';
import { NoSuchWay, NotAsked } from '../outcome.ts';
import type { PromptAnswer, PromptQuestion } from './prompt-thread.ts';

/** 128 k tokens take two seconds, more beside others. */
export const promptMsMax = 15_000;
/** A vocabulary of 100,000 tokens takes 1.2 s and 75 MB. */
const loadMsMax = 60_000;
const memoryMbMax = 1_024;
/** Threads of one model that had to be ended, before it is given up. */
const endedMax = 3;
/** Models of one host that are rendered here at a time: of more the later ones are not. */
const threadsMax = 8;

type Shown = PromptAnswer & { readonly kind: 'prompt' };

interface ThreadLimits {
  readonly promptMsMax: number;
  readonly memoryMbMax: number;
}

export class TokenizerThread {
  readonly #directory: string;
  readonly #limits: ThreadLimits;
  #worker: Promise<Worker> | undefined;
  /** Questions, one after the other. Who asks waits for the answer: there are no more than replicas of the model. */
  #last: Promise<unknown> = Promise.resolve();
  #ended = 0;
  /** Why nothing is asked any more. */
  #unusable: string | undefined;

  constructor(directory: string, limits: ThreadLimits = { promptMsMax, memoryMbMax }) {
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
    const ending = this.#worker;
    this.#worker = undefined;
    void ending?.then((worker) => worker.terminate()).catch(() => {});
  }

  async #ask(question: PromptQuestion): Promise<Shown> {
    if (this.#unusable !== undefined) throw new NoSuchWay(this.#unusable);
    this.#worker ??= this.#start();
    const worker = await this.#worker;
    worker.postMessage(question);
    const answer = await this.#answerOf(worker, this.#limits.promptMsMax);
    if (answer.kind !== 'prompt') throw new NotAsked('the thread said something else');
    return answer;
  }

  async #start(): Promise<Worker> {
    const resourceLimits = { maxOldGenerationSizeMb: this.#limits.memoryMbMax };
    const worker = new Worker(new URL('./prompt-thread.ts', import.meta.url), {
      ...{ workerData: this.#directory, resourceLimits },
      // What the agent was started with is none of its business, nor may it speak in the agent's place.
      ...{ execArgv: [], stdout: true, stderr: true },
    });
    worker.unref();
    // An error that nobody listens for would end the agent.
    worker.on('error', () => {});
    const answer = await this.#answerOf(worker, loadMsMax);
    if (answer.kind === 'loaded') return worker;
    this.#unusable = answer.kind === 'unusable' ? answer.why : 'the thread said something else';
    void worker.terminate();
    throw new NoSuchWay(this.#unusable);
  }

  /** The next thing that it says. A thread that does not say it in time, or ends, is gone. */
  async #answerOf(worker: Worker, msMax: number): Promise<PromptAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<PromptAnswer>();
    const timer = setTimeout(() => reject(new Error(`no answer within ${msMax} ms`)), msMax);
    const gone = (thrown: unknown): void => reject(new Error(`its thread ended: ${String(thrown)}`));
    worker.once('message', resolve).once('error', gone).once('exit', gone);
    try {
      return await promise;
    } catch (thrown) {
      this.#lost(worker, thrown instanceof Error ? thrown.message : String(thrown));
      throw new NotAsked(String(thrown));
    } finally {
      clearTimeout(timer);
      worker.removeListener('message', resolve).removeListener('error', gone).removeListener('exit', gone);
    }
  }

  #lost(worker: Worker, why: string): void {
    void worker.terminate();
    this.#worker = undefined;
    this.#ended += 1;
    if (this.#ended >= endedMax) this.#unusable ??= `given up after ${endedMax} threads: ${why}`;
  }
}

export class TokenizerThreads {
  readonly #threads = new Map<string, { readonly thread: TokenizerThread; users: number }>();

  /** Undefined: there are too many. Whoever takes one gives it back. */
  take(directory: string): TokenizerThread | undefined {
    const taken = this.#threads.get(directory);
    if (taken === undefined && this.#threads.size >= threadsMax) return undefined;
    const entry = taken ?? { thread: new TokenizerThread(directory), users: 0 };
    entry.users += 1;
    this.#threads.set(directory, entry);
    return entry.thread;
  }

  /** Of who has taken it. */
  taken(directory: string): TokenizerThread | undefined {
    return this.#threads.get(directory)?.thread;
  }

  giveBack(directory: string): void {
    const entry = this.#threads.get(directory);
    if (entry === undefined) return;
    entry.users -= 1;
    if (entry.users > 0) return;
    this.#threads.delete(directory);
    entry.thread.close();
  }
}
