/**
 * By which prompt profile each region's models are digested, as this isolate last heard it: asked again after
 * `rosterCacheMsMax`, and sooner for a model that was not in it. A region that does not answer has an empty roster:
 * its requests are decided by load.
 */
import type { Region as RegionName } from '@cognitora/protocol/ids';
import { rosterCacheMsMax, rosterMissMsMax } from '@cognitora/protocol/limits';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import { isWithin, systemClock } from './clock.ts';
import type { Roster } from './directory/region.ts';
import type { Env } from './env.ts';
import { regionObject } from './objects.ts';

interface Cached {
  readonly askedAtMs: number;
  readonly roster: Promise<Roster>;
}

let known: { readonly env: Env; readonly byRegion: Map<RegionName, Cached> } | undefined;

const ask = (
  env: Env,
  region: RegionName,
  byRegion: Map<RegionName, Cached>,
  nowMs: number,
): Promise<Roster> => {
  const roster = regionObject(env, region)
    .roster()
    .then(
      (answer) => answer,
      (): Roster => new Map(),
    );
  byRegion.set(region, { askedAtMs: nowMs, roster });
  return roster;
};

/** Undefined when nobody's cache of the model is known in that region. */
export const profileOf = async (
  env: Env,
  region: RegionName,
  model: string,
): Promise<PromptProfile | undefined> => {
  if (known?.env !== env) known = { env, byRegion: new Map() };
  const { byRegion } = known;
  const nowMs = systemClock();
  const cached = byRegion.get(region);
  if (cached !== undefined && isWithin(rosterCacheMsMax, cached.askedAtMs, nowMs)) {
    const profile = (await cached.roster).get(model);
    if (profile !== undefined || isWithin(rosterMissMsMax, cached.askedAtMs, nowMs)) return profile;
  }
  return (await ask(env, region, byRegion, nowMs)).get(model);
};
