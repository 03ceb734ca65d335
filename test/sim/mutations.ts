/**
 * Known bugs, each planted in the sources as the simulation bundles them. If a run of seeds does not find one of them,
 * the simulation has a hole. Patches that do not fit the source any more fail loudly.
 */
import type { FaultKind } from './plan.ts';
import { loadPrograms, type Patch } from './programs.ts';
import { runSeed } from './run-seed.ts';

export interface Mutation {
  readonly name: string;
  readonly patch: Patch;
  /** Of which faults it takes one to be seen; undefined: of any or none. */
  readonly faults?: readonly FaultKind[];
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
  },
  {
    name: 'a leaked reservation',
    patch: {
      path: 'edge/src/directory/region.ts',
      find: 'this.#directory.settle(reservation, { nowMs, verdict, ...record?.usage });',
      replace: 'if (record) this.#directory.settle(reservation, { nowMs, verdict, ...record?.usage });',
    },
    faults: linkFaults,
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
  },
  {
    name: 'a replica that is not ready gets work',
    patch: {
      path: 'edge/src/directory/eligibility.ts',
      find: "if (state !== 'ready') return state;",
      replace: '',
    },
    faults: ['engine crash'],
  },
  {
    name: 'an END that is lost',
    patch: {
      path: 'protocol/src/outbox.ts',
      find: "if (end !== 'flagged') return { ...end, flags: 0, stream: id, offset: undefined };",
      replace: "if (end !== 'flagged') return undefined;",
    },
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
      path: 'edge/src/link/carried-response.ts',
      find: 'pipe.writeUncounted(sseError(failure));',
      replace: "pipe.writeUncounted(new TextEncoder().encode('data: [DONE]\\n\\n'));",
    },
    faults: ['engine breaks off'],
  },
  {
    name: 'a failure that ends a stream as if it were whole',
    patch: {
      path: 'edge/src/link/carried-response.ts',
      find: 'pipe.writeUncounted(sseError(failure));',
      replace: '',
    },
    faults: ['engine breaks off'],
  },
  {
    name: 'engine work that goes on without its link',
    patch: {
      path: 'node-agent/src/link/session.ts',
      find: "for (const { served } of streams) served?.cancel('client_gone');",
      replace: '',
    },
    faults: linkFaults,
  },
  {
    name: 'an ACK that never comes',
    patch: {
      path: 'node-agent/src/link/session.ts',
      find: 'this.#control(frameTypes.ack, id, emptyPayload);',
      replace: '',
    },
    faults: ['engine slow'],
  },
];

export interface Caught {
  readonly seed: number;
  readonly violation: string;
}

/** The first of so many seeds that finds it. */
export const catches = async (mutation: Mutation, seeds: number): Promise<Caught | undefined> => {
  const programs = await loadPrograms(mutation.patch);
  for (let seed = 0; seed < seeds; seed += 1) {
    const { violations } = await runSeed(seed, programs, { faults: mutation.faults });
    const [violation] = violations;
    if (violation !== undefined) return { seed, violation };
  }
  return undefined;
};
