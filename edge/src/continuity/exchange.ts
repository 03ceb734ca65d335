/**
 * One request and all that is tried for it: which replica is asked, and what follows when an attempt fails: another
 * replica, another region, the same stream over its node's next link, or another replica that goes on from what was
 * sent. Owns the order of these and their bounds, and the failures that the client is told if none succeeds. Touches
 * no bytes of an answer (`answer-stream.ts`).
 *
 *   nothing sent --failed--> the stream over the next link, another replica, another region
 *   partly sent  --failed--> the stream over the next link, another replica from prompt and text, an error
 */
import { CognitoraError, type ErrorCode } from '@cognitora/protocol/errors';
import type { Region as RegionName } from '@cognitora/protocol/ids';
import {
  attemptsPerRegionMax,
  continuationRoundsMax,
  continuationsMax,
  resumeMsContinuable,
  resumeMsMax,
  resumeMsMin,
} from '@cognitora/protocol/limits';
import type { ResumeToken } from '@cognitora/protocol/link';
import { type FailedAttempt, failureCode, mayTryNext, placeOf, tellFailure } from '../attempts.ts';
import type { EarlierAttempt, Occasion } from '../directory/receipts.ts';
import { errorResponse } from '../error-response.ts';
import { type AttemptBody, type AttemptTerms, attempt, type LostStream, resume } from './attempt.ts';
import type { WireFailure } from './wire.ts';

export interface ExchangeOptions {
  readonly terms: AttemptTerms;
  readonly body: AttemptBody;
  /** In the order in which they are asked. */
  readonly regions: readonly RegionName[];
  /** Whether all of the body is still here. */
  readonly isReplayable: () => boolean;
  readonly pause: (ms: number) => Promise<void>;
}

/** What the client has of an answer that broke. */
export interface Progress {
  /** Bytes of the engine's answer that arrived in this attempt. */
  readonly offset: number;
  /** Undefined while the client has nothing of it; else how another replica goes on, or why none can. */
  readonly rest: AttemptBody | string | undefined;
}

export type Recovery = 'resumed' | 'retried' | 'continued';

export interface Recovered {
  readonly answer: Response;
  readonly how: Recovery;
}

/** These are nobody's to mend: the client is gone, or its time is up. */
const isFinal = (code: ErrorCode): boolean =>
  code === 'client_gone' || code === 'client_stalled' || code === 'total_timeout';

/** The engine may still work on it. */
const lostCode = 'link_lost' as const;
const isLinkGone = (code: ErrorCode): boolean => code === lostCode;

interface Try {
  readonly region: RegionName;
  readonly token: ResumeToken;
  readonly answer: Response;
}

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #failures: FailedAttempt[] = [];
  /** The attempt that is answered now. */
  #current: Try | undefined;
  /** The last of whose answer nothing came before its link was lost. */
  #lost: Try | undefined;
  #continuations = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  /** The first answer: an engine's, or the failure that says most. */
  async begin(): Promise<Response> {
    const found = await this.#place(this.#options.body, this.#options.regions, 'first');
    const answer = found ?? (await this.#afterLoss());
    if (answer === undefined) return this.#told();
    // Nobody will be told of these.
    for (const failure of this.#failures) void failure.answer.body?.cancel().catch(() => {});
    return answer;
  }

  /** The answer goes on, or undefined: then `failure` is what the client is told. */
  async recover(failure: WireFailure, { offset, rest }: Progress): Promise<Recovered | undefined> {
    const current = this.#current;
    if (current === undefined || isFinal(failure.code) || this.#isGone) return undefined;
    const canGoOn = typeof rest !== 'string' && this.#options.isReplayable();
    if (isLinkGone(failure.code)) {
      const patienceMs = rest === undefined ? resumeMsMin : resumeMsContinuable;
      const answer = await this.#resume(current, offset, canGoOn ? patienceMs : resumeMsMax);
      if (answer !== undefined) return { answer, how: 'resumed' };
    }
    if (!canGoOn || this.#isGone) return undefined;
    // Whoever failed before may be well again.
    this.#failures.length = 0;
    this.#failed(current.region, current.answer, failure.code);
    if (rest === undefined) {
      if (!mayTryNext(failure.code)) return undefined;
      const answer = await this.#place(this.#options.body, this.#regionsFrom(current.region), 'retried');
      return answer && { answer, how: 'retried' };
    }
    const answer = await this.#continue(rest, current.region);
    return answer && { answer, how: 'continued' };
  }

  /**
   * Nobody else could be asked: the stream is there for as long as its agent keeps it; where it is not, the node that
   * is back is asked anew.
   */
  async #afterLoss(): Promise<Response | undefined> {
    if (this.#lost === undefined || this.#isGone) return undefined;
    const resumed = await this.#resume(this.#lost, 0, resumeMsMax);
    if (resumed !== undefined || this.#isGone || !this.#options.isReplayable()) return resumed;
    const before = this.#failures.splice(0);
    const answer = await this.#place(this.#options.body, this.#options.regions, 'retried');
    this.#failures.unshift(...before);
    return answer;
  }

  /** Another replica's answer. When a host dies the others get all that it had, so who finds none asks once more. */
  async #continue(rest: AttemptBody, region: RegionName): Promise<Response | undefined> {
    if (this.#continuations >= continuationsMax) return undefined;
    this.#continuations += 1;
    for (let rounds = 1; ; rounds += 1) {
      const answer = await this.#place(rest, this.#regionsFrom(region), 'continued');
      const last = this.#failures.at(-1);
      const mayAgain = rounds < continuationRoundsMax && last !== undefined && mayTryNext(last.code);
      if (answer !== undefined || !mayAgain || this.#isGone) return answer;
      await this.#pause();
      // The one that broke may be back by now.
      this.#failures.length = 0;
    }
  }

  get #isGone(): boolean {
    return this.#options.terms.gone.aborted;
  }

  /** Asks until somebody answers; undefined when nobody did who was asked. */
  async #place(
    body: AttemptBody,
    regions: readonly RegionName[],
    occasion: Occasion,
  ): Promise<Response | undefined> {
    for (const region of regions) {
      for (let tries = 1; tries <= attemptsPerRegionMax; tries += 1) {
        const isFirst = occasion === 'first' && this.#failures.length > 0;
        const asking = { region, earlier: this.#earlier, occasion: isFirst ? 'retried' : occasion } as const;
        const { answer, token } = await attempt(asking, body, this.#options.terms);
        const code = failureCode(answer);
        const tried: Try = { region, token, answer };
        this.#current = tried;
        if (code === undefined) return answer;
        this.#failed(region, answer, code);
        if (this.#isGone || !mayTryNext(code) || !this.#options.isReplayable()) return undefined;
        const isPlaced = placeOf(answer).node !== undefined;
        if (!isLinkGone(code)) {
          // Whom it chose is not chosen again; where nobody was chosen, nobody is the next time.
          if (isPlaced) continue;
          break;
        }
        // An engine may be at work on it; or the region's object is gone, and its nodes dial a new one.
        if (isPlaced) this.#lost = tried;
        const resumed = isPlaced ? await this.#resume(tried, 0, resumeMsMin) : await this.#pause();
        if (resumed !== undefined) return resumed;
      }
    }
    return undefined;
  }

  /** As long as nodes take to dial a region's new object, and replicas to be free. */
  async #pause(): Promise<undefined> {
    await this.#options.pause(resumeMsMin);
  }

  /** The rest of a stream, over its node's next link; undefined when it cannot be had. */
  async #resume(
    { region, token, answer }: Try,
    offset: number,
    waitMs: number,
  ): Promise<Response | undefined> {
    const { node, replica } = placeOf(answer);
    if (node === undefined || replica === undefined) return undefined;
    const lost: LostStream = { region, node, replica, token, offset };
    const last = this.#failures.at(-1);
    const isNoted = last?.node === node && last.replica === replica && isLinkGone(last.code);
    const earlier = [
      ...this.#earlier,
      ...(isNoted ? [] : [{ region, node, replica, code: lostCode } as const]),
    ];
    const { terms } = this.#options;
    const resumed = await resume(lost, earlier, Math.min(waitMs, terms.remainingMs()), terms);
    if (failureCode(resumed) !== undefined) return undefined;
    this.#current = { region, token, answer: resumed };
    return resumed;
  }

  get #earlier(): readonly EarlierAttempt[] {
    return this.#failures.map(({ answer: _, ...earlier }) => earlier);
  }

  #failed(region: RegionName, answer: Response, code: ErrorCode): void {
    this.#failures.push({ region, code, ...placeOf(answer), answer });
  }

  /** Where it was first, then those that were not asked before it. */
  #regionsFrom(region: RegionName): readonly RegionName[] {
    const { regions } = this.#options;
    return [region, ...regions.filter((other) => other !== region)];
  }

  #told(): Response {
    const told = tellFailure(this.#failures, this.#options.terms.requestId);
    return told ?? errorResponse(new CognitoraError('no_capacity', 'No region is configured.'));
  }
}
