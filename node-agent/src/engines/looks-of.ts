/** How an engine is looked at, as far as its profile and its place say: which models count, how often. */
import type { EngineConfig } from './engine-config.ts';
import { engineProfiles } from './profiles/profiles.ts';

/** Of a launched engine that lists all that it has, only the configured model is offered. Undefined: each is. */
export const offersOf = ({ profile, source }: EngineConfig): ((served: string) => boolean) | undefined => {
  const isModel = engineProfiles.get(profile)?.launching?.isModel;
  if (source.kind === 'attached' || isModel === undefined) return undefined;
  return (served) => isModel(served, source.model);
};

/** A hosted API counts the questions of all its clients, and answers some with 429. */
const hostedPollMs = 30_000;

/**
 * Hosted is what runs already, has no path of health and is reached by TLS: whoever asks an engine in the clear has it
 * on this host or network, where a look costs nothing and its end shall be noticed at once. Undefined: not hosted.
 */
export const pollMsOf = ({ profile, source }: EngineConfig): number | undefined => {
  const isHosted = source.kind === 'attached' && source.url.protocol === 'https:';
  return isHosted && engineProfiles.get(profile)?.health === undefined ? hostedPollMs : undefined;
};
