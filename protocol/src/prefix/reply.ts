/**
 * The assistant's message out of an engine's response, as a client would send it back in its next turn: what the turn
 * after is digested with. Pure, off the hot path, reads a whole response at once. It never guesses: of a response that
 * broke off, that is too long, or that is not understood there is no message. A completion has no next turn and none.
 */
import { replyBytesMax } from '../limits.ts';
import { isRecord, type JsonRecord, jsonRecordIn, jsonValueIn } from '../shape.ts';
import { dataOf, endsEvent, SseSplitter } from '../sse.ts';

/** With one of these an answer is whole, or as long as the client allowed. */
const endings: readonly unknown[] = ['stop', 'length', 'tool_calls', 'function_call'];

/** Where engines put reasoning, apart from the text. */
const reasoningNames = ['reasoning_content', 'reasoning'] as const;

/** The first of the answers: which of several a client goes on with, nobody knows. */
const choiceIn = (response: JsonRecord): JsonRecord | undefined => {
  const choices: readonly unknown[] = Array.isArray(response.choices) ? response.choices : [];
  return choices.filter(isRecord).find((choice, at) => (choice.index ?? at) === 0);
};

/** What clients send back of a message; undefined when its text is none. */
const messageOf = (message: JsonRecord): JsonRecord | undefined => {
  const { content = null, tool_calls: calls, function_call: called } = message;
  if (typeof content !== 'string' && content !== null) return undefined;
  const reasoning = reasoningNames.filter(
    (name) => typeof message[name] === 'string' && message[name] !== '',
  );
  return {
    role: 'assistant',
    content,
    ...Object.fromEntries(reasoning.map((name) => [name, message[name]])),
    ...(isRecord(called) ? { function_call: called } : {}),
    ...(Array.isArray(calls) && calls.length > 0 ? { tool_calls: calls } : {}),
  };
};

const wholeReply = (bytes: Uint8Array): JsonRecord | undefined => {
  const response = jsonValueIn(bytes);
  const choice = isRecord(response) ? choiceIn(response) : undefined;
  if (choice === undefined || !endings.includes(choice.finish_reason)) return undefined;
  return isRecord(choice.message) ? messageOf(choice.message) : undefined;
};

/** A text that comes in pieces; undefined until its first one has come. */
const joined = (before: string | undefined, piece: unknown): string | undefined =>
  typeof piece === 'string' ? (before ?? '') + piece : before;

/** A function's name comes once, its arguments in pieces. */
class CalledFunction {
  #name: unknown;
  #arguments: string | undefined;

  add({ name, arguments: piece }: JsonRecord): void {
    this.#name ??= name;
    this.#arguments = joined(this.#arguments, piece);
  }

  get whole(): JsonRecord {
    return { name: this.#name, arguments: this.#arguments ?? '' };
  }
}

class ToolCall {
  readonly #function = new CalledFunction();
  #id: unknown;
  #type: unknown;

  add({ id, type, function: called }: JsonRecord): void {
    this.#id ??= id;
    this.#type ??= type;
    if (isRecord(called)) this.#function.add(called);
  }

  get whole(): JsonRecord {
    return { id: this.#id, type: this.#type ?? 'function', function: this.#function.whole };
  }
}

/** Gathers the pieces of a streamed message. Bounded by the response, which is. */
class StreamedMessage {
  #isBroken = false;
  #ending: unknown;
  #hasDelta = false;
  readonly #texts = new Map<string, string | undefined>();
  readonly #calls = new Map<number, ToolCall>();
  #called: CalledFunction | undefined;

  /** An event's data, which is none in a comment. */
  event(data: string): void {
    if (data === '' || data === '[DONE]') return;
    const response = jsonRecordIn(data);
    if (response === undefined || (response.error ?? null) !== null) this.#isBroken = true;
    else this.#choice(choiceIn(response) ?? {});
  }

  breakOff(): void {
    this.#isBroken = true;
  }

  get whole(): JsonRecord | undefined {
    if (this.#isBroken || !this.#hasDelta || !endings.includes(this.#ending)) return undefined;
    const calls = [...this.#calls].toSorted(([left], [right]) => left - right);
    return messageOf({
      ...Object.fromEntries(this.#texts),
      function_call: this.#called?.whole,
      tool_calls: calls.map(([, call]) => call.whole),
    });
  }

  #choice({ delta, finish_reason: ending }: JsonRecord): void {
    this.#ending ??= ending;
    if (!isRecord(delta)) return;
    this.#hasDelta = true;
    for (const name of ['content', ...reasoningNames]) {
      this.#texts.set(name, joined(this.#texts.get(name), delta[name]));
    }
    if (isRecord(delta.function_call)) {
      this.#called ??= new CalledFunction();
      this.#called.add(delta.function_call);
    }
    const calls: readonly unknown[] = Array.isArray(delta.tool_calls) ? delta.tool_calls : [];
    for (const [at, call] of calls.entries()) if (isRecord(call)) this.#call(call, at);
  }

  #call(piece: JsonRecord, at: number): void {
    const index = typeof piece.index === 'number' ? piece.index : at;
    const call = this.#calls.get(index) ?? new ToolCall();
    this.#calls.set(index, call);
    call.add(piece);
  }
}

const lenientDecoder = new TextDecoder();
const streamedReply = (bytes: Uint8Array): JsonRecord | undefined => {
  const message = new StreamedMessage();
  const splitter = new SseSplitter();
  splitter.push(bytes, (event, isWhole) => {
    if (isWhole) message.event(dataOf(lenientDecoder.decode(event)));
    else message.breakOff();
  });
  const rest = splitter.end();
  if (endsEvent(rest)) message.event(dataOf(lenientDecoder.decode(rest)));
  return message.whole;
};

/** The message of a whole response body of `/v1/chat/completions`, an SSE stream or one JSON text. */
export const readReply = (bytes: Uint8Array, isStream: boolean): JsonRecord | undefined => {
  if (bytes.length > replyBytesMax) return undefined;
  return isStream ? streamedReply(bytes) : wholeReply(bytes);
};
