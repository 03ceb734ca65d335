/**
 * A request that ends with a part of its answer: what it and the rest of that answer are together, since the turn after
 * has both in one message. Pure.
 */
import type { OpenRequest } from '@cognitora/protocol/link';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';

/** Whether a request's last message is only the beginning of the answer. In a completion it is prompt as any other. */
export const isContinuedChat = ({ path, spans }: OpenRequest): boolean =>
  spans.continue !== undefined && path === '/v1/chat/completions';

export interface WholeTurn {
  readonly body: JsonRecord;
  readonly reply: JsonRecord;
}

/** The request without the part, and the answer with it; undefined where there is none. */
export const wholeTurn = (body: JsonRecord, rest: JsonRecord): WholeTurn | undefined => {
  const messages: readonly unknown[] = Array.isArray(body.messages) ? body.messages : [];
  const part = messages.at(-1);
  if (!isRecord(part) || typeof part.content !== 'string') return undefined;
  const content = part.content + (typeof rest.content === 'string' ? rest.content : '');
  return { body: { ...body, messages: messages.slice(0, -1) }, reply: { ...rest, content } };
};
