/** What an engine's answer to a question of ours means: it did, it refuses, it has no such route, or nobody knows. */
import { messageOf } from '@cognitora/protocol/errors';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Answer, Ask } from '../../engines/ask.ts';

/** The engine has no such route. */
export class NoSuchWay extends Error {}

/** The engine did not answer, or not to the question: ask again later. */
export class NotAsked extends Error {}

/** What we rendered ourselves is not what the engine has. */
export class Disagrees extends Error {}

const noRoute = [404, 405, 501];
const refused = [400, 422];

/** Templates refuse by raising an exception, which some engines call a failure of their own. */
const isRaised = ({ status, record }: Answer): boolean => status === 500 && record?.error !== undefined;

const answerTo = async (ask: Ask, path: string, body: JsonRecord): Promise<Answer> => {
  try {
    return await ask(path, body);
  } catch (thrown) {
    throw new NotAsked(messageOf(thrown));
  }
};

/** What the engine answers with status 200; undefined when it refuses. */
export const outcomeOf = async (
  ask: Ask,
  path: string,
  body: JsonRecord,
): Promise<JsonRecord | undefined> => {
  let answer = await answerTo(ask, path, body);
  // Once more: a failure that passes is no refusal.
  if (isRaised(answer)) answer = await answerTo(ask, path, body);
  if (noRoute.includes(answer.status)) throw new NoSuchWay(`${path} answered ${answer.status}`);
  if (refused.includes(answer.status) || isRaised(answer)) return undefined;
  if (answer.status !== 200 || answer.record === undefined) {
    throw new NotAsked(`${path} answered ${answer.status}`);
  }
  return answer.record;
};
