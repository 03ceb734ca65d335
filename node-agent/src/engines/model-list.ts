/**
 * What an engine answers to `GET /v1/models`, as the link carries it: items that are no models are left out, odd fields
 * are made to fit. Pure.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import { nameCharsMax } from '@cognitora/protocol/limits';
import type { ModelCard } from '@cognitora/protocol/link';
import { isRecord, parseJsonRecord } from '@cognitora/protocol/shape';

/** A time as the link carries it; 0 where the engine says none, or one that no clock shows. */
const secondsOf = (created: unknown): number => {
  const seconds = typeof created === 'number' ? Math.floor(created) : 0;
  return Number.isSafeInteger(seconds) && seconds > 0 ? seconds : 0;
};

/** One that the edge accepts. */
const isName = (id: unknown): id is string =>
  typeof id === 'string' && id !== '' && id.length <= nameCharsMax && id.isWellFormed();

/** An OpenAI model list; items without such an id are left out. */
export const readModelList = (text: Uint8Array): readonly ModelCard[] => {
  const list = parseJsonRecord(text, 'engine_refused', "The engine's model list");
  const items = Array.isArray(list.data) ? (list.data as readonly unknown[]) : [];
  const cards: ModelCard[] = [];
  for (const item of items) {
    if (!isRecord(item) || !isName(item.id)) continue;
    const ownedBy = typeof item.owned_by === 'string' && item.owned_by !== '' ? item.owned_by : 'engine';
    cards.push({
      id: item.id,
      createdSeconds: secondsOf(item.created),
      ownedBy: ownedBy.slice(0, nameCharsMax).toWellFormed(),
    });
  }
  return cards;
};

/** Throws where the list lacks what is to be served: the engine lives, and has yet to be given it. */
export const offeredOf = (
  cards: readonly ModelCard[],
  offers: ((served: string) => boolean) | undefined,
): readonly ModelCard[] => {
  const offered = offers === undefined ? cards : cards.filter(({ id }) => offers(id));
  if (offers === undefined || offered.length > 0) return offered;
  throw new CognitoraError(
    'engine_refused',
    `its list of ${cards.length} does not have the configured model`,
  );
};
