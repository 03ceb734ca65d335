/**
 * Known bugs, each planted in the sources as the simulation bundles them. If a run of seeds does not find one of them,
 * the simulation has a hole. Patches that do not fit the source any more fail loudly.
 */
import {
  crowded,
  cutOff,
  cutOffFaults,
  type FaultKind,
  fromTheBegin,
  heavy,
  hurried,
  type Plan,
} from './plan.ts';
import { loadPrograms, type Patch, type Programs } from './programs.ts';
import { runSeed } from './run-seed.ts';

export interface Mutation {
  readonly name: string;
  readonly patch: Patch;
  /** Of which faults it takes one to be seen; undefined: of any or none. Repeated calls alone: no other shows it. */
  readonly faults?: readonly FaultKind[];
  /** It takes a plan of this shape; undefined: as it was drawn. */
  readonly shape?: (plan: Plan) => Plan;
  /** One that sees it, and the first that is tried: each test run tries those that have one. */
  readonly seed?: number;
}

const linkFaults: readonly FaultKind[] = ['link cut', 'link cut at the agent', 'link cut at the edge'];

export const mutations: readonly Mutation[] = [
  {
    name: 'a lost CANCEL',
    patch: {
      path: 'edge/src/link/edge-link.ts',
      find: 'this.#outbox?.control(frameTypes.cancel, id, encodeCancel(reason));',
      replace: '',
    },
    seed: 6,
  },
  {
    name: 'a leaked reservation',
    patch: {
      path: 'edge/src/directory/region.ts',
      find: 'this.#directory.settle(reservation, { nowMs, verdict, bodyBytes, code, ...record?.usage });',
      replace:
        'if (record) this.#directory.settle(reservation, { nowMs, verdict, bodyBytes, code, ...record?.usage });',
    },
    faults: linkFaults,
    seed: 10,
  },
  {
    name: 'a link of an older epoch that is welcomed',
    patch: {
      path: 'edge/src/link/link-host.ts',
      find: 'if (older !== undefined && older.epoch > epoch) {',
      replace: 'if (older !== undefined && older.epoch > epoch && epoch < 0) {',
    },
    faults: ['link overtaken'],
    seed: 0,
  },
  {
    name: 'a link that is told of again and taken for an older one',
    patch: {
      path: 'edge/src/directory/directory.ts',
      find: 'if (known !== undefined && known.epoch > epoch) {',
      replace: 'if (known !== undefined && known.epoch >= epoch) {',
    },
    faults: ['calls repeated'],
    shape: fromTheBegin,
    seed: 1,
  },
  {
    name: 'a lease that is not checked',
    patch: {
      path: 'edge/src/link/link-host.ts',
      find: "else if (now - this.#heardAtMs(hosted) > leaseMsMax) this.#drop(hosted, 1001, 'silent');",
      replace: '',
    },
    faults: ['link held', 'link cut at the agent'],
  },
  {
    name: 'a cordon that is ignored',
    patch: {
      path: 'edge/src/directory/eligibility.ts',
      find: "if (node.isCordoned) return 'cordoned';",
      replace: '',
    },
    faults: ['cordon'],
    seed: 0,
  },
  {
    name: 'a replica that is not ready gets work',
    patch: {
      path: 'edge/src/directory/eligibility.ts',
      find: "if (state !== 'ready') return state;",
      replace: '',
    },
    faults: ['engine crash'],
    seed: 0,
  },
  {
    name: 'an END that is lost',
    patch: {
      path: 'protocol/src/outbox.ts',
      find: "if (end !== 'flagged') return { ...end, flags: 0, stream: id, offset: undefined };",
      replace: "if (end !== 'flagged') return undefined;",
    },
    seed: 0,
  },
  {
    name: 'credit that is not given back',
    patch: {
      path: 'edge/src/link/edge-link.ts',
      find: 'const streamGrant = stream?.window.consumed(bytes) ?? 0;',
      replace: 'const streamGrant = 0 * (stream?.window.consumed(bytes) ?? 0);',
    },
  },
  {
    name: 'a byte of a body that is sent twice',
    patch: {
      path: 'protocol/src/outbox.ts',
      find: 'stream.sentOfFirst = from + part.length;',
      replace: 'stream.sentOfFirst = from + part.length - 1;',
    },
  },
  {
    name: '[DONE] behind a failure',
    patch: {
      path: 'edge/src/continuity/answer-stream.ts',
      find: 'const event = sseError(new CognitoraError(code, message));',
      replace: "const event = new TextEncoder().encode('data: [DONE]' + String.fromCharCode(10, 10));",
    },
    faults: ['engine breaks off'],
    seed: 1,
  },
  {
    name: 'a stream that breaks and ends as if it were whole',
    patch: {
      path: 'edge/src/continuity/answer-stream.ts',
      find: '      this.#end ??= cut;',
      replace: "      this.#end ??= 'clean';",
    },
    faults: ['region crash', 'node object crash', 'agent crash', 'engine breaks off'],
  },
  {
    name: 'an offset that is one too small when a stream goes on',
    patch: {
      path: 'edge/src/continuity/attempt.ts',
      find: '...{ ...lost, requestId,',
      replace: '...{ ...lost, offset: Math.max(0, lost.offset - 1), requestId,',
    },
    faults: linkFaults,
    seed: 1,
  },
  {
    name: 'a stream that goes on from the begin',
    patch: {
      path: 'node-agent/src/link/kept-streams.ts',
      find: 'const bytes = this.#replay?.from(offset) ?? new Uint8Array();',
      replace: 'const bytes = this.#replay?.from(0) ?? new Uint8Array();',
    },
    faults: linkFaults,
    seed: 1,
  },
  {
    name: 'a stream that no next link is asked for',
    patch: {
      path: 'edge/src/continuity/attempt.ts',
      find: "const isOne = settings.layout === 'one-object';",
      replace: `if (waitMs > 0) return errorResponse(new CognitoraError('stream_gone', 'planted'));
        const isOne = settings.layout === 'one-object';`,
    },
    faults: cutOffFaults,
    shape: cutOff,
    seed: 0,
  },
  {
    name: 'a stream that is given up where its object is gone',
    patch: {
      path: 'edge/src/continuity/exchange.ts',
      find: 'if (isLinkGone(failure.code)) {',
      replace: "if (isLinkGone(failure.code) && failure.message !== 'The answer broke off on its way.') {",
    },
    faults: cutOffFaults,
    shape: cutOff,
    seed: 0,
  },
  {
    name: 'another request where a part of the answer was sent',
    patch: {
      path: 'edge/src/continuity/answer-stream.ts',
      find: 'const rest = sent.hasBegun ? this.#options.restOf(sent) : undefined;',
      replace: 'const rest = sent.hasBegun && sent.textEvents > 5 ? this.#options.restOf(sent) : undefined;',
    },
    faults: ['engine breaks off', 'engine crash', 'agent crash'],
    seed: 11,
  },
  {
    name: 'a seam at which text is said twice',
    patch: {
      path: 'edge/src/continuity/stitch.ts',
      find: 'return text.slice(shared);',
      replace: 'return text;',
    },
    faults: ['engine breaks off', 'engine crash', 'agent crash'],
    seed: 2,
  },
  {
    name: 'a kept stream that nobody ends',
    patch: {
      path: 'node-agent/src/link/kept-streams.ts',
      find: "if (isUnclaimed || isForgotten) stream.cancel('client_gone');",
      replace: "if (isForgotten) stream.cancel('client_gone');",
    },
    faults: ['link cut at the edge', 'edge crash', 'worker crash', 'link cut'],
    seed: 10,
  },
  {
    name: 'a booking that nobody takes back',
    patch: {
      path: 'edge/src/directory/region.ts',
      find: 'for (const reservation of this.#directory.strays(node, new Set(carried), nowMs)) {',
      replace: 'for (const reservation of [] as Reservation[]) {',
    },
    faults: ['region held up', 'worker crash'],
  },
  {
    name: 'kept bytes that are never given back',
    patch: { path: 'node-agent/src/link/kept-streams.ts', find: 'replay?.drop();', replace: '' },
    seed: 0,
  },
  {
    name: 'an answer that is kept whole',
    patch: {
      path: 'protocol/src/limits.ts',
      find: 'export const replayStreamBytesMax = 512 * KiB;',
      replace: 'export const replayStreamBytesMax = 512 * MiB;',
    },
    shape: heavy,
    seed: 0,
  },
  {
    name: 'a sender that ignores its credit',
    patch: {
      path: 'protocol/src/outbox.ts',
      find: 'const room = Math.min(frameBodyBytesMax, stream.credit.bytes, this.#linkCredit.bytes);',
      replace: 'const room = frameBodyBytesMax;',
    },
    shape: heavy,
    seed: 0,
  },
  {
    name: 'an agent that reads from its engine whatever waits to be sent',
    patch: {
      path: 'node-agent/src/link/session.ts',
      find: 'if (this.#outbox.queuedBytes(id) <= agentQueuedBytesMax) return true;',
      replace: 'if (this.#outbox.queuedBytes(id) >= 0) return true;',
    },
    shape: heavy,
    seed: 0,
  },
  {
    name: 'a body that its answer never lets go of',
    patch: {
      path: 'edge/src/dispatch.ts',
      find: 'const onOver = (): void => body.release();',
      replace: 'const onOver = (): void => {};',
    },
    seed: 0,
  },
  {
    name: 'a grant that never comes',
    patch: {
      path: 'edge/src/admission/admission.ts',
      find: 'ticket.granted(waitedMs);',
      replace: '',
    },
    faults: ['slow disk'],
    seed: 4,
  },
  {
    name: 'a client that leaves and keeps its place',
    patch: {
      path: 'edge/src/admission/waiting-room.ts',
      find: 'if (ticket !== undefined) this.#admission.leave(ticket);',
      replace: '',
    },
    faults: ['slow disk'],
    seed: 12,
  },
  {
    name: 'a queue without its bound',
    patch: {
      path: 'edge/src/admission/admission.ts',
      find: 'if (gate.queue.size < queueMax) return;',
      replace: 'if (gate.queue.size < queueMax || queueMax >= 0) return;',
    },
    faults: ['slow disk'],
    seed: 13,
  },
  {
    name: 'a wait that ignores the deadline',
    patch: {
      path: 'edge/src/continuity/exchange.ts',
      find: 'Math.max(0, terms.remainingMs() - waitMs)',
      replace: '(terms.remainingMs() - waitMs)',
    },
    faults: ['agent crash'],
    shape: hurried,
    seed: 1,
  },
  {
    name: 'a deadline that begins anew behind the queue',
    patch: {
      path: 'edge/src/directory/region.ts',
      find: 'replica, remainingMs: leftOf(remainingMs, askedAtMs),',
      replace: 'replica,',
    },
    shape: crowded,
    seed: 0,
  },
  {
    name: 'a continuation for who refuses it',
    patch: {
      path: 'edge/src/dispatch.ts',
      find: "if (text === null || text === 'never') return text === 'never';",
      replace: "if (text === null || text === 'never') return false;",
    },
    faults: ['engine breaks off', 'engine crash'],
    seed: 1,
  },
  {
    name: 'an ACK that never comes',
    patch: {
      path: 'node-agent/src/link/session.ts',
      find: '    if (stream === undefined || stream.answered) return;',
      replace: '    if (stream !== undefined) return;',
    },
    faults: ['engine slow'],
  },
  {
    name: 'usage that is counted from the seam',
    patch: {
      path: 'edge/src/continuity/stitch.ts',
      find: "const completion = (typeof given === 'number' ? given : 0) + this.#events;",
      replace: "const completion = typeof given === 'number' ? given : 0;",
    },
    faults: ['engine breaks off', 'engine crash', 'agent crash'],
  },
];

export interface Caught {
  readonly seed: number;
  readonly violation: string;
}

let sound: Promise<Programs> | undefined;

/** The first of so many seeds, from its own on, that finds it, and finds nothing without it. */
export const catches = async (mutation: Mutation, seeds: number): Promise<Caught | undefined> => {
  sound ??= loadPrograms();
  const programs = await loadPrograms(mutation.patch);
  const { faults, shape, seed: from = 0 } = mutation;
  for (let seed = from; seed < from + seeds; seed += 1) {
    const [violation] = (await runSeed(seed, programs, { faults, shape })).violations;
    if (violation === undefined) continue;
    const without = await runSeed(seed, await sound, { faults, shape });
    if (without.violations.length === 0) return { seed, violation };
  }
  return undefined;
};
