/** How long each step of a request may take: the ACK by the edge's timer, what an engine does by the agent's. */
import {
  ackMsMax,
  engineConnectMsMax,
  firstTokenMsMax,
  interTokenMsMax,
  requestMsMax,
} from '@cognitora/protocol/limits';

export interface EngineTimeouts {
  /** Until the edge has the agent's ACK. */
  readonly ackMsMax: number;
  /** Until it accepts a connection. */
  readonly connectMsMax: number;
  /** From then to the first byte of its answer. */
  readonly firstTokenMsMax: number;
  /** Between two reads of an answer that somebody reads. */
  readonly interTokenMsMax: number;
  /** From the request to the end of its answer. */
  readonly totalMsMax: number;
}

export const timeoutsDefault: EngineTimeouts = {
  ackMsMax,
  connectMsMax: engineConnectMsMax,
  firstTokenMsMax,
  interTokenMsMax,
  totalMsMax: requestMsMax,
};
