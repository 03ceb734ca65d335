/**
 * Reads the events of a streamed answer for what another engine needs to go on with it: the text, the names that its
 * events carry, how it ended, and what keeps it from being continued. Takes whole events, many at a time; holds the
 * text and no event.
 */
import { sentSpaceEventsMax, sentTailEventsMax, sentTextCharsMax } from '@cognitora/protocol/limits';
import type { InferencePath } from '@cognitora/protocol/openai';
import { isRecord, isSaid, type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { dataOf } from '@cognitora/protocol/sse';
import { isFinishReason } from '@cognitora/protocol/volunteered';
import type { Sent, SentBlocker } from './sent.ts';

const decoder = new TextDecoder();
const usualPrefix = 'data: ';
const done = '[DONE]';

/** The type of an event with which an engine says that it failed. */
const errorType = /^event: ?error$/m;

/**
 * The data of each event in a text of whole events, of the usual one without a look at its lines; undefined for an
 * error, whatever it says.
 */
const dataIn = (text: string): readonly (string | undefined)[] => {
  const plain = text.includes('\r') ? text.replaceAll(/\r\n|\r/g, '\n') : text;
  const found: (string | undefined)[] = [];
  for (const event of plain.split('\n\n')) {
    const isUsual = event.startsWith(usualPrefix) && !event.includes('\n');
    const data = isUsual ? event.slice(usualPrefix.length) : dataOf(event);
    if (data === '') continue;
    found.push(!isUsual && errorType.test(event) ? undefined : data);
  }
  return found;
};

/** Members of a chat's delta that are no text. */
const blockingMembers: readonly (readonly [name: string, blocker: SentBlocker])[] = [
  ['tool_calls', 'tool_call'],
  ['function_call', 'function_call'],
  ['reasoning_content', 'reasoning'],
  ['reasoning', 'reasoning'],
  ['refusal', 'refusal'],
  ['audio', 'audio'],
];

/** Reasoning that its engine does not tell from text. Chat templates leave it out of a message. */
const inlineReasoning = /<\/?think>/;

export class AnswerReader {
  readonly #path: InferencePath;
  #hasBegun = false;
  #text = '';
  #textEvents = 0;
  #tailEnds: number[] = [];
  /** Of the last events, those that are white space alone: the seam stands before them. */
  #spaceEvents = 0;
  #id: string | undefined;
  #created: number | undefined;
  #model: string | undefined;
  #finishReason: string | undefined;
  #usageSent = false;
  #isDone = false;
  #blocker: SentBlocker | undefined;

  constructor(path: InferencePath) {
    this.#path = path;
  }

  read(events: Uint8Array): void {
    for (const data of dataIn(decoder.decode(events))) {
      if (data === undefined) this.skip();
      else if (data === done) this.#isDone = true;
      else this.#event(jsonRecordIn(data));
    }
  }

  /** An event was passed on that nobody read, or an error. */
  skip(): void {
    this.#hasBegun = true;
    this.#block('unreadable');
  }

  get sent(): Sent {
    if (this.#path === '/v1/chat/completions' && inlineReasoning.test(this.#text)) this.#block('reasoning');
    return {
      path: this.#path,
      hasBegun: this.#hasBegun,
      text: this.#text,
      textEvents: this.#textEvents,
      tailEnds: this.#tailEnds.slice(-this.#tailEventsMax),
      id: this.#id,
      created: this.#created,
      model: this.#model,
      // Of several choices another one may still be under way.
      finishReason: this.#blocker === 'choices' ? undefined : this.#finishReason,
      usageSent: this.#usageSent,
      isDone: this.#isDone,
      blocker: this.#blocker,
    };
  }

  get #tailEventsMax(): number {
    return sentTailEventsMax + Math.min(this.#spaceEvents, sentSpaceEventsMax);
  }

  #block(blocker: SentBlocker): void {
    this.#blocker ??= blocker;
    this.#text = '';
    this.#tailEnds = [];
  }

  #event(event: JsonRecord | undefined): void {
    this.#hasBegun = true;
    if (event === undefined || isSaid(event.error) || event.object === 'error') {
      this.#block('unreadable');
      return;
    }
    const { id, created, model, usage } = event;
    if (typeof id === 'string') this.#id ??= id;
    if (typeof created === 'number') this.#created ??= created;
    if (typeof model === 'string') this.#model ??= model;
    const choices: readonly unknown[] = Array.isArray(event.choices) ? event.choices : [];
    if (choices.length > 1) this.#block('choices');
    const [choice] = choices;
    if (isRecord(choice)) this.#choice(choice);
    else if (choice !== undefined) this.#block('unreadable');
    // Counts of an answer that goes on are those so far.
    if (isRecord(usage) && (choice === undefined || this.#finishReason !== undefined)) this.#usageSent = true;
  }

  #choice({ index = 0, delta, text, logprobs, finish_reason: finishReason }: JsonRecord): void {
    if (index !== 0) this.#block('choices');
    if (isSaid(logprobs)) this.#block('logprobs');
    if (isFinishReason(finishReason)) this.#finishReason = finishReason;
    if (this.#path === '/v1/completions') this.#part(text);
    else if (isRecord(delta)) this.#delta(delta);
    else this.#block('unreadable');
  }

  #delta(delta: JsonRecord): void {
    for (const [name, blocker] of blockingMembers) if (isSaid(delta[name])) this.#block(blocker);
    this.#part(delta.content);
  }

  #part(text: unknown): void {
    if (!isSaid(text)) return;
    this.#textEvents += 1;
    if (typeof text !== 'string') this.#block('unreadable');
    else if (this.#text.length + text.length > sentTextCharsMax) this.#block('too_long');
    else if (this.#blocker === undefined) this.#add(text);
  }

  #add(text: string): void {
    this.#text += text;
    this.#spaceEvents = text.trim() === '' ? this.#spaceEvents + 1 : 0;
    this.#tailEnds.push(this.#text.length);
    if (this.#tailEnds.length > 2 * this.#tailEventsMax) {
      this.#tailEnds = this.#tailEnds.slice(-this.#tailEventsMax);
    }
  }
}
