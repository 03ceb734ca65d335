/**
 * The engine tokenises a chat: `POST /tokenize` with messages gives `{tokens}`, and what its vocabulary has for them
 * when asked; `POST /detokenize` gives their text. Options other than tools and the template's own are not heard there,
 * so that nothing can be learned of them.
 */
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import { NoSuchWay, outcomeOf } from './outcome.ts';
import type { RenderWay } from './render.ts';
import { tokensOfStrings } from './token-strings.ts';

interface Tokenised {
  readonly ids: readonly number[];
  /** Undefined where the engine does not give them. */
  readonly strings: readonly string[] | undefined;
  readonly text: string;
}

const heardFields = ['messages', 'tools', 'chat_template_kwargs'];

const numbersIn = (list: unknown): readonly number[] | undefined =>
  Array.isArray(list) && list.every((item) => typeof item === 'number') ? list : undefined;

const stringsIn = (list: unknown): readonly string[] | undefined =>
  Array.isArray(list) && list.every((item) => typeof item === 'string') ? list : undefined;

/** Undefined: the template refuses it. */
const tokenise = async (ask: Ask, served: string, body: JsonRecord): Promise<Tokenised | undefined> => {
  const heard = Object.fromEntries(Object.entries(body).filter(([name]) => heardFields.includes(name)));
  const question = { model: served, ...heard, add_generation_prompt: true, return_token_strs: true };
  const answer = await outcomeOf(ask, '/tokenize', question);
  if (answer === undefined) return undefined;
  const ids = numbersIn(answer.tokens);
  if (ids === undefined) throw new NoSuchWay('/tokenize gave no tokens');
  const text = await outcomeOf(ask, '/detokenize', { model: served, tokens: ids });
  if (typeof text?.prompt !== 'string') throw new NoSuchWay('/detokenize gave no text');
  return { ids, strings: stringsIn(answer.token_strs), text: text.prompt };
};

export const tokenizeMessages: RenderWay = {
  showsOptions: false,
  render: async (ask, served, body) => (await tokenise(ask, served, body))?.text,
  show: async (ask, served, body) => {
    const tokenised = await tokenise(ask, served, body);
    if (tokenised?.strings === undefined) return undefined;
    const { text, ids, strings } = tokenised;
    const tokens = ids.length === strings.length ? tokensOfStrings(text, ids, strings) : undefined;
    return tokens && { text, tokens };
  },
};
