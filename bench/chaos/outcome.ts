/** How a stream ended for its client, judged from all that it saw. Pure. */
import type { Answer } from './spoken-text.ts';

/** In the order of the table. */
export const outcomes = [
  'right',
  'wrong text',
  'clean end, text lost',
  'wrong end',
  'told: error event',
  'refused: error status',
  'connection broken',
  'hung',
] as const;
export type Outcome = (typeof outcomes)[number];

export interface Failure {
  readonly kind: 'event' | 'status' | 'connection' | 'hung';
  readonly code: string;
  /** What the client was told, for people. */
  readonly message: string;
}

export interface Seen {
  readonly text: string;
  readonly finishReason: string | undefined;
  /** `data: [DONE]` came. */
  readonly isDone: boolean;
  readonly failure: Failure | undefined;
  /** Undefined: nobody knows what the engine was to say. */
  readonly expected: Answer | undefined;
}

const ofFailure = {
  event: 'told: error event',
  status: 'refused: error status',
  connection: 'connection broken',
  hung: 'hung',
} as const satisfies Record<Failure['kind'], Outcome>;

export const judge = ({ text, finishReason, isDone, failure, expected }: Seen): Outcome => {
  // Whatever came afterwards: a client that showed this text showed a wrong one.
  if (expected !== undefined && !expected.text.startsWith(text)) return 'wrong text';
  if (failure !== undefined) return ofFailure[failure.kind];
  if (!isDone) return 'connection broken';
  if (expected !== undefined && text !== expected.text) return 'clean end, text lost';
  const isRight =
    expected === undefined ? finishReason !== undefined : finishReason === expected.finishReason;
  return isRight ? 'right' : 'wrong end';
};
