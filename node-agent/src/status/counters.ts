/** What has been served of one replica since the agent started. Counts; keeps nothing of a request. */
import type { ErrorCode } from '@cognitora/protocol/errors';
import type { StreamReply } from '../link/session.ts';

export class ReplicaCounters {
  live = 0;
  requests = 0;
  bodyBytes = 0;
  /** Codes and classes are closed sets. */
  readonly errors = new Map<ErrorCode, number>();
  readonly answers = new Map<string, number>();
}

const addOne = <Name>(counts: Map<Name, number>, name: Name): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1);
};

/** The reply, with what goes through it counted. */
export const counted = (reply: StreamReply, counters: ReplicaCounters): StreamReply => ({
  head(head) {
    addOne(counters.answers, `${Math.floor(head.status / 100)}xx`);
    reply.head(head);
  },
  data(bytes) {
    counters.bodyBytes += bytes.length;
    return reply.data(bytes);
  },
  end: (record) => reply.end(record),
  fail(failure) {
    addOne(counters.errors, failure.code);
    reply.fail(failure);
  },
  consumed: (bytes) => reply.consumed(bytes),
});
