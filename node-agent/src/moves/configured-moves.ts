/** How KV moves on this host, as the configuration says: the hand-over, and the directories of those who use it. */
import { mkdirSync } from 'node:fs';
import type { Clock } from '../clock.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import type { Log } from '../log.ts';
import { DirectoryHandover } from './directory-handover.ts';
import type { KvMovesOptions } from './kv-moves.ts';
import { slotDirectories } from './slot-directories.ts';

/** Undefined: it does not. */
export const configuredMoves = (
  { engines, kvHandover }: AgentConfig,
  clock: Clock,
  log: Log,
): Pick<KvMovesOptions, 'handover' | 'directories'> | undefined => {
  if (kvHandover === undefined) return undefined;
  const directories = slotDirectories(engines, engineProfiles);
  if (directories.size === 0) {
    log('warn', 'kv does not move', { why: 'kv_handover is set and no engine has a kv_directory' });
  }
  // An engine that starts looks for its directory at once.
  for (const directory of directories.values()) makeDirectory(directory, log);
  const monotonicMs = (): number => clock.monotonicMs();
  const wallMs = (): number => clock.wallMs();
  return { directories, handover: new DirectoryHandover({ directory: kvHandover, monotonicMs, wallMs }) };
};

/** One that cannot be made shows when its engine is probed. */
const makeDirectory = (path: string, log: Log): void => {
  try {
    mkdirSync(path, { recursive: true, mode: 0o770 });
  } catch (thrown) {
    log('warn', 'a directory cannot be made', { path, why: String(thrown) });
  }
};
