/**
 * Where a launched engine publishes events of its cache: sockets in the replica's own directory. With a TCP endpoint of
 * loopback, vLLM and SGLang connect and do not bind (they bind only to wildcards, `::` and `ipc://`), and a wildcard
 * would tell the whole network what is asked here.
 */
import type { KvEventEndpoints } from '../engine-config.ts';
import type { LaunchPlan } from './profile.ts';

export interface EventSockets extends KvEventEndpoints {
  readonly replay: string;
}

export const eventSockets = ({ directory }: LaunchPlan): EventSockets => ({
  events: `ipc://${directory}/kv-events`,
  replay: `ipc://${directory}/kv-replay`,
});

/** What the system takes as a socket's path, in bytes. */
const socketPathBytesMax = 107;

/** Why a socket can't be there; undefined: it can. */
export const socketProblem = ({ events }: KvEventEndpoints): string | undefined => {
  const path = events.replace(/^ipc:\/\//, '');
  const bytes = Buffer.byteLength(path);
  if (bytes <= socketPathBytesMax) return undefined;
  const most = `and a socket's may have ${socketPathBytesMax}`;
  return `The path ${path} has ${bytes} bytes, ${most}: take a shorter data_dir.`;
};
