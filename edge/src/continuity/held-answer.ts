/**
 * An answer that is no stream of events: held until it is whole, so that one that breaks off can be asked for anew and
 * the client never sees half of it. One that is too large for that is passed on as it comes, and cut where it breaks;
 * so is a stream that its engine compressed, from its first byte on.
 */
import { joinBytes } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { heldAnswerBytesMax } from '@cognitora/protocol/limits';
import { errorResponse } from '../error-response.ts';
import type { Exchange } from './exchange.ts';
import {
  clientAnswer,
  cut,
  encodingHeader,
  framedHeader,
  isSealedStream,
  type WireFailure,
  WireReader,
} from './wire.ts';

/** What came of one attempt. */
interface Part {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly wire: WireReader;
  readonly chunks: Uint8Array[];
  bytes: number;
  end: 'clean' | WireFailure | undefined;
}

const open = (body: ReadableStream<Uint8Array>, chunks: Uint8Array[], bytes: number): Part => {
  const wire = new WireReader({
    data: (data) => {
      chunks.push(data);
      part.bytes += data.length;
    },
    ours: () => {},
    end: () => {
      part.end = 'clean';
    },
    fail: (failure) => {
      part.end = failure;
    },
  });
  const part: Part = { reader: body.getReader(), wire, chunks, bytes, end: undefined };
  return part;
};

const readOn = async (part: Part): Promise<void> => {
  try {
    const { done, value } = await part.reader.read();
    if (done) part.end ??= cut;
    else part.wire.push(value);
  } catch {
    part.end ??= cut;
  }
};

/** The whole answer, or the failure that ended it. Calls `onOver` once nothing of it is under way. */
export const holdAnswer = async (
  first: Response,
  exchange: Pick<Exchange, 'recover'>,
  gone: AbortSignal,
  onOver: () => void,
): Promise<Response> => {
  let answer = first;
  let part: Part | undefined;
  const leave = (): void => {
    void part?.reader.cancel().catch(() => {});
  };
  gone.addEventListener('abort', leave, { once: true });
  for (;;) {
    const { body } = answer;
    if (!answer.headers.has(framedHeader) || body === null) {
      const rest = part === undefined ? undefined : new Uint8Array(await answer.arrayBuffer());
      onOver();
      return clientAnswer(answer, rest === undefined ? body : joinBytes([...(part?.chunks ?? []), rest]));
    }
    const heldBytesMax = isSealedStream(answer) ? 0 : heldAnswerBytesMax;
    part = open(body, part?.chunks ?? [], part?.bytes ?? 0);
    while (part.end === undefined && part.bytes <= heldBytesMax) await readOn(part);
    if (part.end === undefined) return clientAnswer(answer, passOn(part, onOver));
    if (part.end === 'clean') {
      onOver();
      return clientAnswer(answer, joinBytes(part.chunks));
    }
    const recovered = await exchange.recover(part.end, { offset: part.bytes, rest: undefined });
    if (!('answer' in recovered)) {
      onOver();
      const { code, message } = 'failure' in recovered ? recovered.failure : part.end;
      return failureOf(answer, new CognitoraError(code, message));
    }
    answer = recovered.answer;
    if (recovered.how !== 'resumed') part = undefined;
  }
};

/** What the client is told instead, with the id, the region and the node of what broke off. */
const failureOf = ({ headers }: Response, error: CognitoraError): Response => {
  const told = errorResponse(error);
  for (const [name, value] of headers) {
    const isEdges = name === 'x-request-id' || name.startsWith('x-cognitora-');
    const isOfItsBody = name === framedHeader || name === encodingHeader;
    if (isEdges && !isOfItsBody && !told.headers.has(name)) told.headers.set(name, value);
  }
  return told;
};

/** Too large to be held: as it comes from here on. */
const passOn = (part: Part, onOver: () => void): ReadableStream<Uint8Array> =>
  new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        while (part.chunks.length === 0 && part.end === undefined) await readOn(part);
        for (const chunk of part.chunks.splice(0)) controller.enqueue(chunk);
        if (part.end === undefined) return;
        onOver();
        if (part.end === 'clean') controller.close();
        else controller.error(new CognitoraError(part.end.code, part.end.message));
      },
      cancel: () => {
        void part.reader.cancel().catch(() => {});
        onOver();
      },
    },
    { highWaterMark: 0 },
  );
