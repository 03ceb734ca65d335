/**
 * HOT, but for the first bytes of a stream alone. Whether what an engine says is only that it will answer: the role of
 * who speaks, choices without a text. Some say so as soon as a request comes, before they begin with it. Pure.
 */
import { fromUtf8 } from '@cognitora/protocol/bytes';
import { isRecord, isSaid, type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { dataOf, endsEvent } from '@cognitora/protocol/sse';

/** What is longer says something. */
const openingBytesMax = 4 * 1024;

const blankLine = /\r\n\r\n|\n\n|\r\r/;

/** Whether whole events, and none of them has a part of an answer. What is no event of choices counts as one. */
export const opensOnly = (bytes: Uint8Array): boolean =>
  bytes.length <= openingBytesMax &&
  endsEvent(bytes) &&
  fromUtf8(bytes)
    .split(blankLine)
    .map(dataOf)
    .every((data) => data === '' || saysNothing(data));

const saysNothing = (data: string): boolean => {
  const choices = jsonRecordIn(data)?.choices;
  return Array.isArray(choices) && choices.every((choice: unknown) => isRecord(choice) && isSilent(choice));
};

const isSilent = ({ delta = {}, text, finish_reason: reason }: JsonRecord): boolean =>
  !isSaid(text) &&
  !isSaid(reason) &&
  isRecord(delta) &&
  Object.entries(delta).every(([name, value]) => name === 'role' || !isSaid(value));
