/**
 * Whether the tokenizer of an engine that shows no prompts is on this host, as the agent will look for it. Without one
 * the engine serves all the same, and what it holds is known approximately. Decides; the host looks.
 */
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import type { Answer, Ask } from '../engines/ask.ts';
import type { EngineConfig } from '../engines/engine-config.ts';
import { tokenizerHint } from '../engines/tokenizer-hint.ts';
import { findTokenizer } from '../truth/render/local/find-tokenizer.ts';
import { namesFromEngine } from '../truth/render/local-tokenizer.ts';
import type { Check, Host } from './check.ts';

const firstModelIn = ({ record }: Answer): string => {
  const listed: readonly unknown[] = Array.isArray(record?.data) ? record.data : [];
  const [first] = listed.filter(isRecord);
  return typeof first?.id === 'string' ? first.id : '';
};

/** Undefined: the engine does not answer, which another check says. */
const namesOf = async (ask: Ask): Promise<readonly string[] | undefined> => {
  try {
    return await namesFromEngine(ask, firstModelIn(await ask('/v1/models')));
  } catch {
    return undefined;
  }
};

/** Undefined: it needs none. */
export const tokenizerCheck = async (
  host: Host,
  what: string,
  config: EngineConfig,
  /** Asks the engine, where it runs already; a text is why it did not answer. */
  asked: (path: string) => ReturnType<Host['ask']>,
): Promise<Check | undefined> => {
  const hint = tokenizerHint(config, host.environment);
  if (hint === undefined) return undefined;
  const ask: Ask = async (path) => {
    const answer = await asked(path);
    if (typeof answer === 'string') throw new Error(answer);
    return { ...answer, record: jsonRecordIn(answer.text) };
  };
  const names = hint.name === undefined ? await namesOf(ask) : [hint.name];
  if (names === undefined) return undefined;
  const found = names
    .map((name) => findTokenizer(name, hint.environment, host.tokenizerFiles))
    .find((directory) => directory !== undefined);
  if (found !== undefined) return { what, outcome: 'ok', says: found };
  return {
    ...{ what, outcome: 'note' },
    says:
      `no tokenizer.json of ${names.join(', ')} on this host, in a directory or in the hub's cache: ` +
      'what the engine holds is known approximately',
    fix: 'Name its directory as "tokenizer" of this engine.',
  };
};
