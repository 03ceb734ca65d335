/**
 * What all regions serve, as `GET /v1/models` and `/readyz` tell it. Asks each region's object at most every
 * `rosterCacheMsMax`; a region that does not answer is left out rather than failing the rest.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { Region } from '@cognitora/protocol/ids';
import { nameCharsMax, rosterCacheMsMax } from '@cognitora/protocol/limits';
import type { ModelCard } from '@cognitora/protocol/link';
import { isWithin, systemClock } from './clock.ts';
import type { RegionStatus } from './directory/region.ts';
import { type Env, settingsOf } from './env.ts';
import { regionObject } from './objects.ts';

/** Every region's status now, by name. */
export const regionStatuses = async (env: Env): Promise<ReadonlyMap<Region, RegionStatus>> => {
  const { regions } = settingsOf(env);
  const asked = await Promise.allSettled(regions.map((region) => regionObject(env, region).status()));
  const statuses = new Map<Region, RegionStatus>();
  for (const [index, answer] of asked.entries()) {
    const region = regions[index];
    if (region !== undefined && answer.status === 'fulfilled') statuses.set(region, answer.value);
  }
  return statuses;
};

let cached: { readonly env: Env; readonly atMs: number; readonly cards: readonly ModelCard[] } | undefined;

const modelCards = async (env: Env): Promise<readonly ModelCard[]> => {
  const now = systemClock();
  if (cached?.env === env && isWithin(rosterCacheMsMax, cached.atMs, now)) return cached.cards;
  const cards = new Map<string, ModelCard>();
  for (const { models } of (await regionStatuses(env)).values()) {
    for (const card of models) cards.set(card.id, card);
  }
  const sorted = [...cards.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
  // An empty fleet is not remembered: the first model must show at once.
  if (sorted.length > 0) cached = { env, atMs: now, cards: sorted };
  return sorted;
};

const toOpenAi = ({ id, createdSeconds, ownedBy }: ModelCard) => ({
  id,
  object: 'model',
  created: createdSeconds,
  owned_by: ownedBy,
});

export const listModels = async (env: Env): Promise<Response> =>
  Response.json({ object: 'list', data: (await modelCards(env)).map(toOpenAi) });

export const showModel = async (env: Env, id: string): Promise<Response> => {
  const card = (await modelCards(env)).find((candidate) => candidate.id === id);
  if (card !== undefined) return Response.json(toOpenAi(card));
  // No model has a longer name: its beginning tells the client which one was meant.
  const shown = id.length > nameCharsMax ? `${id.slice(0, nameCharsMax)}…` : id;
  throw new CognitoraError('model_not_found', `The model ${JSON.stringify(shown)} does not exist here.`, {
    param: 'model',
  });
};

/** 200 once some replica can serve, else 503. */
export const readiness = async (env: Env): Promise<Response> => {
  const statuses = await regionStatuses(env);
  const regions = Object.fromEntries([...statuses].map(([region, { ready }]) => [region, ready]));
  const ready = [...statuses.values()].some((status) => status.ready);
  return Response.json({ ready, regions }, { status: ready ? 200 : 503 });
};
