/** What has been served of one replica since the agent started. Counts; keeps nothing of a request. */
import type { ErrorCode } from '@cognitora/protocol/errors';
import type { StreamReply } from '../link/session.ts';

export class ReplicaCounters {
  live = 0;
  /** Of those, the ones whose answer has begun. */
  answering = 0;
  requests = 0;
  bodyBytes = 0;
  /** Codes and classes are closed sets. */
  readonly errors = new Map<ErrorCode, number>();
  readonly answers = new Map<string, number>();
}

const addOne = <Name>(counts: Map<Name, number>, name: Name): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1);
};

export interface CountedRequest {
  /** The reply, with what goes through it counted. */
  readonly reply: StreamReply;
  /** To be called once, however the request ended. */
  readonly over: () => void;
}

export const counted = (reply: StreamReply, counters: ReplicaCounters): CountedRequest => {
  let isAnswering = false;
  counters.requests += 1;
  counters.live += 1;
  return {
    reply: {
      head(head) {
        addOne(counters.answers, `${Math.floor(head.status / 100)}xx`);
        reply.head(head);
      },
      data(bytes) {
        if (!isAnswering) counters.answering += 1;
        isAnswering = true;
        counters.bodyBytes += bytes.length;
        return reply.data(bytes);
      },
      end: (record) => reply.end(record),
      fail(failure) {
        addOne(counters.errors, failure.code);
        reply.fail(failure);
      },
      consumed: (bytes) => reply.consumed(bytes),
    },
    over: () => {
      counters.live -= 1;
      if (isAnswering) counters.answering -= 1;
    },
  };
};
