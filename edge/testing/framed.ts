/** An object's answers by hand: framed bodies that end as they are told to, or break off. Only tests import it. */
import { joinBytes, utf8 } from '@cognitora/protocol/bytes';
import { CognitoraError, type ErrorCode } from '@cognitora/protocol/errors';
import { dataHeader, endFrame, failFrame, framedHeader, oursFrame } from '../src/continuity/wire.ts';

export const data = (text: string): Uint8Array => {
  const bytes = utf8(text);
  return joinBytes([dataHeader(bytes.length), bytes]);
};
export const ours = (text: string): Uint8Array => oursFrame(utf8(text));
export const end = endFrame;
export const fail = (code: ErrorCode, message = 'It broke.'): Uint8Array =>
  failFrame(new CognitoraError(code, message));

const headersOf = (type: string) => ({ 'content-type': type, [framedHeader]: '1' });

/** A body of these chunks; `cut`: it breaks off behind them, `open`: it says no more. `left` hears of its reader. */
export const framed = (
  chunks: readonly Uint8Array[],
  {
    how = 'closed' as 'closed' | 'cut' | 'open',
    type = 'text/event-stream',
    status = 200,
    left = (): void => {},
  } = {},
): Response => {
  const rest = [...chunks];
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        const next = rest.shift();
        if (next !== undefined) controller.enqueue(next);
        else if (how === 'closed') controller.close();
        else if (how === 'cut') controller.error(new Error('gone'));
        else return new Promise(() => {});
        return undefined;
      },
      cancel: left,
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status, headers: headersOf(type) });
};
