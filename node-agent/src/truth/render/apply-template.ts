/** The engine renders a chat as it would for a completion: `POST /apply-template` gives `{prompt}`. */
import { NoSuchWay, outcomeOf } from './outcome.ts';
import type { RenderWay } from './render.ts';

export const applyTemplate: RenderWay = {
  showsOptions: true,
  render: async (ask, _served, body) => {
    const answer = await outcomeOf(ask, '/apply-template', { ...body, add_generation_prompt: true });
    if (answer === undefined) return undefined;
    if (typeof answer.prompt !== 'string') throw new NoSuchWay('/apply-template gave no prompt');
    return answer.prompt;
  },
};
