/**
 * Asks the fleet's directory who holds keys: those of one turn of the event loop in one question, each key once at a
 * time. "Nobody" is believed for a while; a question without an answer is a miss now, and asked again next time.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import { kvAskDigestsMax } from '@cognitora/protocol/limits';
import { keyDigest } from './key-digest.ts';
import { askMsMax, asksMax, nobodyMsMax, rememberedMax } from './limits.ts';
import { Remembered } from './remembered.ts';
import { within } from './within.ts';

/** For each digest who holds it. Rejects when there is nobody to ask. */
export type AskHolders = (digests: readonly string[]) => Promise<readonly (readonly NodeId[])[]>;

type Holders = readonly NodeId[];

interface Asked {
  readonly promise: Promise<Holders>;
  readonly resolve: (holders: Holders) => void;
}

const nobody: Holders = [];

export class WhoHas {
  readonly #ask: AskHolders;
  readonly #nobody: Remembered;
  readonly #asked = new Map<string, Asked>();
  #next: string[] = [];
  #asks = 0;

  constructor(ask: AskHolders, nowMs: () => number) {
    this.#ask = ask;
    this.#nobody = new Remembered({ msMax: nobodyMsMax, entriesMax: rememberedMax, nowMs });
  }

  /** Never rejects. */
  holdersOf(key: string): Promise<Holders> {
    const digest = keyDigest(key);
    const asked = this.#asked.get(digest);
    if (asked !== undefined) return asked.promise;
    if (this.#nobody.has(digest)) return Promise.resolve(nobody);
    if (this.#asks >= asksMax) return Promise.resolve(nobody);
    const { promise, resolve } = Promise.withResolvers<Holders>();
    this.#asked.set(digest, { promise, resolve });
    this.#next.push(digest);
    if (this.#next.length === 1) setImmediate(() => this.#send());
    else if (this.#next.length === kvAskDigestsMax) this.#send();
    return promise;
  }

  #send(): void {
    const digests = this.#next;
    this.#next = [];
    if (digests.length > 0) void this.#sent(digests);
  }

  async #sent(digests: readonly string[]): Promise<void> {
    this.#asks += 1;
    const told = await within(this.#ask(digests), askMsMax, 'late').catch(() => undefined);
    this.#asks -= 1;
    // One that does not answer for each of them says nothing of any.
    const isWhole = told?.length === digests.length;
    for (const [place, digest] of digests.entries()) {
      const holders = (isWhole ? told[place] : undefined) ?? nobody;
      if (isWhole && holders.length === 0) this.#nobody.add(digest);
      const asked = this.#asked.get(digest);
      this.#asked.delete(digest);
      asked?.resolve(holders);
    }
  }
}
