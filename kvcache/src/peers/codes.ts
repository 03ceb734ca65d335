/** Why something between two daemons failed: a closed set, the same in errors, counters and answers. */
import { messageOf } from '@cognitora/protocol/errors';

const peerFailures = {
  /** No connection within its time. */
  unreachable: 'no connection',
  /** The other end is not who it should be, or not of the fleet; or it does not take us for that. */
  refused: 'not of the fleet, or not the node that was meant',
  /** The connection ended in the midst of something. */
  cut: 'the connection ended',
  /** Nothing came, or nothing was taken, for too long. */
  stalled: 'nothing moved for too long',
  /** What came is none of the wire's frames, or not the one that may come here. */
  garbage: 'not a frame that may come here',
  /** More than was announced or allowed. */
  excess: 'more than was announced or allowed',
  /** The bytes are not those that were announced. */
  corrupt: 'other bytes than were announced',
  /** The value is another one than the one that was begun. */
  changed: 'the value changed meanwhile',
  /** The holder has no such value. */
  missing: 'the holder does not have it',
  /** Too much waits, here or there. */
  busy: 'too much waits',
  /** Nothing here may go for it. */
  'no room': 'no room in memory',
  /** It would be, or was, later than asked for. */
  late: 'too late',
  /** It was asked to end. */
  closed: 'closed',
} as const;

export type PeerFailure = keyof typeof peerFailures;

/** What a holder may answer instead of a value: the number on the wire is the place. */
export const toldFailures = ['missing', 'busy', 'excess', 'refused'] as const satisfies PeerFailure[];

export class PeerError extends Error {
  readonly code: PeerFailure;

  constructor(code: PeerFailure, detail?: string) {
    super(detail === undefined ? peerFailures[code] : `${peerFailures[code]}: ${detail}`);
    this.code = code;
  }
}

/** Whatever was thrown on the way, as one of them. */
export const peerErrorOf = (thrown: unknown): PeerError =>
  thrown instanceof PeerError ? thrown : new PeerError('cut', messageOf(thrown));
