/**
 * What the mock engine says, byte for byte, so that the load generator can tell loss, repetition, reordering
 * and mix-up from a right answer. Event n of a stream with a tag is `eventBytes` long, whatever n:
 *
 *   data: {"id":"<tag 8>",...,"content":"<n, 8 digits> <time it was written, 16 digits, us> ....."}...\n\n
 *
 * and the stream ends with `data: [DONE]\n\n`. Only the time may differ between two runs of one stream.
 */

/** As long as a chunk of a real engine with a short token in it. */
export const eventBytes = 250;
export const doneEvent = Buffer.from('data: [DONE]\n\n');
const tagChars = 8;
const indexDigits = 8;
const timeDigits = 16;

const before =
  'data: {"id":"chatcmpl-########","object":"chat.completion.chunk","created":1764000000,"model":"bench",' +
  '"choices":[{"index":0,"delta":{"content":"';
const after = '"},"finish_reason":null}]}\n\n';
const tagAt = before.indexOf('########');
const indexAt = before.length;
const timeAt = indexAt + indexDigits + 1;
const padding = '.'.repeat(eventBytes - before.length - indexDigits - timeDigits - 2 - after.length);
const template = Buffer.from(
  `${before}${'0'.repeat(indexDigits)} ${'0'.repeat(timeDigits)} ${padding}${after}`,
);

/** The engine's last event when usage was asked for. */
export const usageEvent = Buffer.from(
  'data: {"id":"chatcmpl-usage","object":"chat.completion.chunk","created":1764000000,"model":"bench",' +
    '"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":16,"total_tokens":25}}\n\n',
);

const writeDigits = (into: Buffer, at: number, digits: number, value: number): void => {
  let left = Math.floor(value);
  for (let position = at + digits - 1; position >= at; position -= 1) {
    into[position] = 0x30 + (left % 10);
    left = Math.floor(left / 10);
  }
};

const readDigits = (from: Uint8Array, at: number, digits: number): number => {
  let value = 0;
  for (let position = at; position < at + digits; position += 1) {
    value = value * 10 + ((from[position] ?? 0) - 0x30);
  }
  return value;
};

/** A stream's tag: eight characters, so that a stream that got another's bytes shows. */
export const tagOf = (index: number): string => String(index).padStart(tagChars, '0').slice(-tagChars);

/** Writes event `index` at `at`; `timeUs` 0 leaves the time out, as `firstDifference` compares it. */
export const writeEvent = (into: Buffer, at: number, tag: string, index: number, timeUs: number): void => {
  into.set(template, at);
  into.write(tag, at + tagAt, tagChars, 'latin1');
  writeDigits(into, at + indexAt, indexDigits, index);
  if (timeUs > 0) writeDigits(into, at + timeAt, timeDigits, timeUs);
};

/** When the engine wrote the event that stands at `at`. */
export const writtenUs = (bytes: Uint8Array, at: number): number =>
  readDigits(bytes, at + timeAt, timeDigits);

export const bodyBytesOf = (events: number): number => events * eventBytes + doneEvent.length;

/** Undefined when `received` is just the stream of `events` events, else what is wrong with it, in words. */
export const firstDifference = (received: Buffer, tag: string, events: number): string | undefined => {
  const scratch = Buffer.alloc(eventBytes);
  const expected = Buffer.alloc(eventBytes);
  for (let index = 0; index < events; index += 1) {
    const at = index * eventBytes;
    if (received.length < at + eventBytes)
      return `lost from event ${index} of ${events} (${received.length} B)`;
    scratch.set(received.subarray(at, at + eventBytes));
    scratch.fill(0x30, timeAt, timeAt + timeDigits);
    writeEvent(expected, 0, tag, index, 0);
    if (!scratch.equals(expected)) return describe(scratch, tag, index);
  }
  const rest = received.subarray(events * eventBytes);
  return rest.equals(doneEvent) ? undefined : `wrong end: ${JSON.stringify(rest.toString().slice(0, 80))}`;
};

const describe = (event: Buffer, tag: string, index: number): string => {
  const foundTag = event.toString('latin1', tagAt, tagAt + tagChars);
  const found = readDigits(event, indexAt, indexDigits);
  if (foundTag !== tag) return `event ${index} of stream ${tag} belongs to ${JSON.stringify(foundTag)}`;
  if (found < index) return `event ${found} repeated or late where ${index} was due`;
  if (found > index) return `event ${index} lost: ${found} came`;
  return `event ${index} differs: ${JSON.stringify(event.toString('latin1'))}`;
};
