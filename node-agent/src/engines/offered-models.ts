/** Which models of a launched engine's list are offered: of one that lists all that it has, the configured one. */
import type { EngineConfig } from './engine-config.ts';
import { engineProfiles } from './profiles/profiles.ts';

/** Undefined: each is. */
export const offersOf = ({ profile, source }: EngineConfig): ((served: string) => boolean) | undefined => {
  const isModel = engineProfiles.get(profile)?.launching?.isModel;
  if (source.kind === 'attached' || isModel === undefined) return undefined;
  return (served) => isModel(served, source.model);
};
