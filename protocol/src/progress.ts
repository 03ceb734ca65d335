/**
 * The way back of the `progress` edit: takes the events in which an engine tells how far its prefill is out of a
 * stream, and notes what they say. Pure; one per response; holds at most one SSE event, and passes all others as they
 * are. Such events come between those of the answer, too, where a request has several prompts.
 */
import { findBytes, utf8 } from './bytes.ts';
import { scanMembers } from './members.ts';
import { isRecord, jsonValueIn } from './shape.ts';
import { SseSplitter } from './sse.ts';

const needle = utf8('"prompt_progress"');
const openBrace = 0x7b;

/** HOT. How many tokens of a prompt an event says are done, with cached ones; undefined: it is no such event. */
const processedIn = (event: Uint8Array): number | undefined => {
  if (findBytes(event, needle) < 0) return undefined;
  const json = event.subarray(Math.max(0, event.indexOf(openBrace)));
  const found = scanMembers(json).members.get('prompt_progress');
  const value = found && jsonValueIn(json.subarray(found.valueStart, found.valueEnd));
  if (!isRecord(value)) return undefined;
  return typeof value.processed === 'number' ? value.processed : 0;
};

export class ProgressReader {
  /** The most that one of the prompts has come to. */
  processedTokens = 0;
  readonly #splitter = new SseSplitter();

  push(bytes: Uint8Array): readonly Uint8Array[] {
    const out: Uint8Array[] = [];
    this.#splitter.push(bytes, (event, whole) => this.#event(event, whole, out));
    return out;
  }

  /** What was still held when the engine's body ended. */
  end(): readonly Uint8Array[] {
    const out: Uint8Array[] = [];
    const rest = this.#splitter.end();
    if (rest.length > 0) this.#event(rest, true, out);
    return out;
  }

  #event(event: Uint8Array, whole: boolean, out: Uint8Array[]): void {
    const processed = whole ? processedIn(event) : undefined;
    if (processed === undefined) out.push(event);
    else this.processedTokens = Math.max(this.processedTokens, processed);
  }
}
