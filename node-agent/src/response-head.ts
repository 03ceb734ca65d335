/**
 * The head of an engine's answer: which of its headers go on, whether the edge could read it, and whether it is an
 * answer at all. Pure; knows the forms of the API's answers, and no engine.
 */
import { messageOf } from '@cognitora/protocol/errors';
import { framePayloadBytesMax, headersPerMessageMax } from '@cognitora/protocol/limits';
import { encodeJson, type HeaderList, parseHead, type ResponseHead } from '@cognitora/protocol/link';

type EngineHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Headers that belong to one hop, or that the edge decides. */
const droppedHeaders = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-connection',
  'server',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
]);

export const headerList = (headers: EngineHeaders): HeaderList => {
  const list: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || droppedHeaders.has(name) || name.startsWith('x-cognitora-')) continue;
    for (const single of typeof value === 'string' ? [value] : value) list.push([name, single]);
  }
  return list;
};

/** Why the edge would take this HEAD for a broken link, in words: then only this request fails. */
export const faultOf = (head: ResponseHead): string | undefined => {
  const { status, headers } = head;
  if (status > 599) return `The engine answered with status ${status}, which HTTP does not know.`;
  if (headers.length > headersPerMessageMax) {
    return `The engine answered with ${headers.length} headers; at most ${headersPerMessageMax} are carried.`;
  }
  const encoded = encodeJson(head);
  if (encoded.length > framePayloadBytesMax) {
    return `The engine's headers take ${encoded.length} bytes; at most ${framePayloadBytesMax} are carried.`;
  }
  try {
    parseHead(encoded);
    return undefined;
  } catch (thrown) {
    const why = messageOf(thrown);
    return `The engine's headers cannot be carried: ${why}`;
  }
};

/** Of which more stands in no media type; what is longer is cut, for it is shown. */
const mediaTypeCharsMax = 100;

/** Lower case and without parameters; empty where there is none. */
export const mediaTypeOf = (headers: EngineHeaders): string => {
  const given = headers['content-type'];
  const [type = ''] = (typeof given === 'string' ? given : (given?.[0] ?? '')).split(';', 1);
  return type.trim().toLowerCase().slice(0, mediaTypeCharsMax);
};

/** JSON by any of its names, and events. */
const answerPattern = /^(?:text\/event-stream|application\/[\w.+-]*json(?:l|lines)?)$/;
/** What servers say of bytes that nobody named to them; engines answer so too, as with vectors in binary. */
const unnamedTypes = ['', 'text/plain', 'application/octet-stream'];

/**
 * Whether a success is somebody else's: the page of a proxy, of another service at the engine's port. The client of an
 * API can do nothing with it.
 */
export const isNoAnswer = (status: number, mediaType: string): boolean =>
  status >= 200 && status < 300 && !answerPattern.test(mediaType) && !unnamedTypes.includes(mediaType);
