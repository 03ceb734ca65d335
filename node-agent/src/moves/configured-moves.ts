/**
 * How KV moves on this host, as the configuration says: the hand-over, what tells the edge of it, and the directories
 * of the engines that use it.
 */
import { mkdirSync } from 'node:fs';
import type { NodeId } from '@cognitora/protocol/ids';
import type { Clock } from '../clock.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { KvDaemonClient } from '../kv-daemon/daemon-client.ts';
import { KvFleet } from '../kv-daemon/kv-fleet.ts';
import type { Log } from '../log.ts';
import { DirectoryHandover } from './directory-handover.ts';
import type { KvHandover } from './handover.ts';
import type { KvMovesOptions } from './kv-moves.ts';
import { KvcachedHandover } from './kvcached-handover.ts';
import { slotDirectories } from './slot-directories.ts';

export interface ConfiguredMoves extends Pick<KvMovesOptions, 'handover' | 'directories'> {
  /** Between the KV daemon and the edge; undefined: there is no daemon. */
  readonly fleet: KvFleet | undefined;
}

export interface MovesHost {
  readonly node: NodeId;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Undefined: it does not. */
export const configuredMoves = (
  { engines, kvHandover, kvcached }: Pick<AgentConfig, 'engines' | 'kvHandover' | 'kvcached'>,
  host: MovesHost,
): ConfiguredMoves | undefined => {
  const { clock, log } = host;
  if (kvHandover === undefined && kvcached === undefined) return undefined;
  const directories = slotDirectories(engines, engineProfiles);
  // A daemon has other clients, too.
  if (directories.size === 0 && kvHandover !== undefined) {
    log('warn', 'kv does not move', { why: 'kv_handover is set and no engine has a kv_directory' });
  }
  // An engine that starts looks for its directory at once.
  for (const directory of directories.values()) makeDirectory(directory, log);
  if (kvcached !== undefined) return { directories, ...throughDaemon(kvcached, host) };
  const monotonicMs = (): number => clock.monotonicMs();
  const wallMs = (): number => clock.wallMs();
  const directory = kvHandover ?? '';
  return {
    directories,
    handover: new DirectoryHandover({ directory, monotonicMs, wallMs }),
    fleet: undefined,
  };
};

const throughDaemon = (
  socketPath: string,
  { node, random, log }: MovesHost,
): { readonly handover: KvHandover; readonly fleet: KvFleet } => {
  const daemon = new KvDaemonClient(socketPath);
  const handover = new KvcachedHandover({
    daemon,
    reachOf: (peer) => fleet.reachOf(peer),
    onNamed: () => fleet.changed(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref()),
    log,
  });
  const fleet: KvFleet = new KvFleet({ node, open: () => daemon.fleet(), own: handover, random, log });
  return { handover, fleet };
};

/** One that cannot be made shows when its engine is probed. */
const makeDirectory = (path: string, log: Log): void => {
  try {
    mkdirSync(path, { recursive: true, mode: 0o770 });
  } catch (thrown) {
    log('warn', 'a directory cannot be made', { path, why: String(thrown) });
  }
};
