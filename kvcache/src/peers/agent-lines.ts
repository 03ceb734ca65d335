/**
 * What the daemon tells its agent of peers and keys, and asks the edge through it: one agent at a time, told all anew
 * when it comes. What changes often is told a few times a second. A question that is not answered in time is dropped.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import type { FromDaemon, KvFabric, PeerReach } from '@cognitora/protocol/kv-daemon';
import type { AgentChannel } from '../peer-access.ts';
import type { Fabric } from './fabric.ts';
import type { HeldKeys } from './held-keys.ts';
import { askMsMax, fabricMs, heldMs, reachMs } from './limits.ts';

type Send = (line: FromDaemon) => boolean;
type Holders = readonly (readonly NodeId[])[];

interface Question {
  readonly resolve: (holders: Holders) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class AgentLines {
  readonly #fabric: () => Fabric;
  readonly #held: () => HeldKeys;
  readonly #questions = new Map<number, Question>();
  #send: Send | undefined;
  #asks = 0;
  #heldTimer: NodeJS.Timeout | undefined;
  #reachTimer: NodeJS.Timeout | undefined;
  #toldReach = '';
  /** The newest that was not taken yet, and until when none is. */
  #newest: KvFabric | undefined;
  #fabricTimer: NodeJS.Timeout | undefined;

  constructor(parts: { readonly fabric: () => Fabric; readonly held: () => HeldKeys }) {
    this.#fabric = parts.fabric;
    this.#held = parts.held;
  }

  attach(send: Send): AgentChannel {
    this.#detach();
    this.#send = send;
    this.#toldReach = '';
    this.#say({ type: 'self', ...this.#fabric().self });
    this.#tellReach();
    this.#held().restart();
    return {
      receive: (line) => {
        if (this.#send !== send) return;
        if (line.type === 'fabric') this.#update(line);
        else this.#answer(line.ask, line.holders);
      },
      closed: () => {
        if (this.#send === send) this.#detach();
      },
    };
  }

  /** Rejects where there is no agent. */
  ask(digests: readonly string[]): Promise<Holders> {
    const { promise, resolve, reject } = Promise.withResolvers<Holders>();
    this.#asks = (this.#asks + 1) % 2 ** 32;
    const ask = this.#asks;
    const drop = (): void => {
      this.#questions.delete(ask);
      reject(new Error('no answer'));
    };
    this.#questions.set(ask, { resolve, reject, timer: setTimeout(drop, askMsMax) });
    this.#say({ type: 'ask', ask, digests });
    if (this.#send === undefined) drop();
    return promise;
  }

  /** There are keys that the agent was not told of. */
  onHeld(): void {
    if (this.#send === undefined) return;
    this.#heldTimer ??= setTimeout(() => this.#tellHeld(), heldMs);
  }

  onReach(): void {
    if (this.#send === undefined) return;
    this.#reachTimer ??= setTimeout(() => this.#tellReach(), reachMs);
  }

  close(): void {
    this.#detach();
    this.#newest = undefined;
    clearTimeout(this.#fabricTimer);
  }

  /** The first at once; of those that come on its heels the newest. It stands when the agent goes. */
  #update(fabric: KvFabric): void {
    if (this.#fabricTimer !== undefined) {
      this.#newest = fabric;
      return;
    }
    this.#fabric().update(fabric);
    this.#fabricTimer = setTimeout(() => {
      const newest = this.#newest;
      this.#newest = undefined;
      this.#fabricTimer = undefined;
      if (newest !== undefined) this.#update(newest);
    }, fabricMs);
  }

  #detach(): void {
    this.#send = undefined;
    clearTimeout(this.#heldTimer);
    clearTimeout(this.#reachTimer);
    this.#heldTimer = undefined;
    this.#reachTimer = undefined;
    for (const [ask, { reject, timer }] of this.#questions) {
      clearTimeout(timer);
      this.#questions.delete(ask);
      reject(new Error('the agent is gone'));
    }
  }

  #answer(ask: number, holders: Holders): void {
    const question = this.#questions.get(ask);
    if (question === undefined) return;
    clearTimeout(question.timer);
    this.#questions.delete(ask);
    question.resolve(holders);
  }

  #say(line: FromDaemon): void {
    if (this.#send?.(line) === false) this.#detach();
  }

  /** One line a turn: a million keys take their time, and nobody waits for it. */
  #tellHeld(): void {
    this.#heldTimer = undefined;
    const change = this.#send && this.#held().take();
    if (change !== undefined) this.#say({ type: 'held', ...change });
    if (this.#send !== undefined && !this.#held().isTold)
      this.#heldTimer ??= setTimeout(() => this.#tellHeld(), 0);
  }

  #tellReach(): void {
    clearTimeout(this.#reachTimer);
    this.#reachTimer = undefined;
    const peers = this.#fabric().reach;
    const told = JSON.stringify(peers.map(rounded));
    if (told === this.#toldReach) return;
    this.#toldReach = told;
    this.#say({ type: 'reach', peers });
  }
}

/** Figures that differ by less than about a fifth are the same. */
const rounded = ({ node, transport, rttMs, bytesPerMs }: PeerReach): readonly (string | number)[] => {
  const step = (figure: number): number => Math.round(Math.log(Math.max(0.01, figure)) * 5);
  return [node, transport, step(rttMs), step(bytesPerMs)];
};
