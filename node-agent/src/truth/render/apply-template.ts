/**
 * The engine renders a chat as it would for a completion: `POST /apply-template` gives `{prompt}`, and `POST /tokenize`
 * with pieces `{tokens: [{id, piece}]}`, where a piece is a text, or bytes when it cuts a character.
 */
import { isRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import { NoSuchWay, outcomeOf } from './outcome.ts';
import { type PromptTokens, type TokenPiece, tokensOfPieces } from './pieces.ts';
import type { RenderWay } from './render.ts';

const render: RenderWay['render'] = async (ask, _served, body) => {
  const answer = await outcomeOf(ask, '/apply-template', { ...body, add_generation_prompt: true });
  if (answer === undefined) return undefined;
  if (typeof answer.prompt !== 'string') throw new NoSuchWay('/apply-template gave no prompt');
  return answer.prompt;
};

const tokensOf = async (ask: Ask, rendered: string): Promise<PromptTokens | undefined> => {
  const asked = { content: rendered, add_special: true, parse_special: true, with_pieces: true };
  const answer = await outcomeOf(ask, '/tokenize', asked);
  if (!Array.isArray(answer?.tokens)) return undefined;
  const pieces = answer.tokens.map(pieceOf).filter((piece) => piece !== undefined);
  return tokensOfPieces(rendered, pieces);
};

export const applyTemplate: RenderWay = {
  showsOptions: true,
  render,
  show: async (ask, served, body) => {
    const text = await render(ask, served, body);
    const tokens = text === undefined ? undefined : await tokensOf(ask, text);
    return text === undefined || tokens === undefined ? undefined : { text, tokens };
  },
};

const pieceOf = (token: unknown): TokenPiece | undefined => {
  if (!isRecord(token) || typeof token.id !== 'number') return undefined;
  const { id, piece } = token;
  if (typeof piece === 'string') return { id, bytes: Buffer.from(piece) };
  return Array.isArray(piece) ? { id, bytes: Uint8Array.from(piece.map(Number)) } : undefined;
};
