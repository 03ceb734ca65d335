/** How long an engine may take for each step of a request, by the agent's timers. */
import {
  engineConnectMsMax,
  firstTokenMsMax,
  interTokenMsMax,
  requestMsMax,
} from '@cognitora/protocol/limits';

export interface EngineTimeouts {
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
  connectMsMax: engineConnectMsMax,
  firstTokenMsMax,
  interTokenMsMax,
  totalMsMax: requestMsMax,
};
