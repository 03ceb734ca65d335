/**
 * Which replicas of a configuration may move KV, and where their engines save slots. What an engine that is started can
 * hand over its profile says; of one that runs already the configuration does, and the probe shows whether that is so.
 */
import type { ReplicaName } from '@cognitora/protocol/ids';
import type { EngineConfig } from '../engines/engine-config.ts';
import type { EngineProfile } from '../engines/profiles/profile.ts';

export const slotDirectories = (
  engines: readonly EngineConfig[],
  profiles: ReadonlyMap<string, EngineProfile>,
): ReadonlyMap<ReplicaName, string> => {
  const directories = new Map<ReplicaName, string>();
  for (const { name, profile, source } of engines) {
    const savesSlots = source.kind === 'attached' || profiles.get(profile)?.handsOver === 'slots';
    if (savesSlots && source.kvDirectory !== undefined) directories.set(name, source.kvDirectory);
  }
  return directories;
};
