/**
 * Keeps what a node says of its replicas within one frame, pure: each replica gets an equal share of it, and models
 * beyond its share are left out, the last ones first. Without this a host with many adapters could not link at all.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { framePayloadBytesMax } from '@cognitora/protocol/limits';
import type { ModelCard, ReplicaReport } from '@cognitora/protocol/link';

/** The rest of a HELLO, and each replica's name and state, fit into what is left of a frame. */
const modelBytesMax = framePayloadBytesMax / 2;

const cardBytes = (card: ModelCard): number => utf8(JSON.stringify(card)).length + 1;

export const fitReports = (reports: readonly ReplicaReport[]): readonly ReplicaReport[] => {
  const share = modelBytesMax / Math.max(1, reports.length);
  return reports.map((report) => {
    let left = share;
    const models = report.models.filter((card) => {
      left -= cardBytes(card);
      return left >= 0;
    });
    return models.length === report.models.length ? report : { ...report, models };
  });
};
