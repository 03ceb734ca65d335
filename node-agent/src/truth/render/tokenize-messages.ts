/**
 * The engine tokenises a chat: `POST /tokenize` with messages gives `{tokens}`, `POST /detokenize` their text. Options
 * other than tools are not heard there, so that nothing can be learned of them.
 */
import { NoSuchWay, outcomeOf } from './outcome.ts';
import type { RenderWay } from './render.ts';

export const tokenizeMessages: RenderWay = {
  showsOptions: false,
  render: async (ask, served, { messages, tools }) => {
    const answer = await outcomeOf(ask, '/tokenize', {
      model: served,
      messages,
      ...(tools === undefined ? {} : { tools }),
      add_generation_prompt: true,
    });
    if (answer === undefined) return undefined;
    if (!Array.isArray(answer.tokens)) throw new NoSuchWay('/tokenize gave no tokens');
    const text = await outcomeOf(ask, '/detokenize', { model: served, tokens: answer.tokens });
    if (typeof text?.prompt !== 'string') throw new NoSuchWay('/detokenize gave no text');
    return text.prompt;
  },
};
