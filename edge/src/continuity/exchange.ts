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
  resumeAgainMs,
  resumeMsContinuable,
  resumeMsMax,
  resumeMsMin,
} from '@cognitora/protocol/limits';
import type { ResumeToken } from '@cognitora/protocol/link';
import { type FailedAttempt, failureCode, mayTryNext, placeOf, tellFailure } from '../attempts.ts';
import type { EarlierAttempt, Occasion } from '../directory/receipts.ts';
import { awayHeader, errorResponse } from '../error-response.ts';
import { type AttemptBody, type AttemptTerms, attempt, type LostStream, resume } from './attempt.ts';
import type { Rest } from './rest.ts';
import type { Seam } from './sent.ts';
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
  /** How another replica goes on; undefined while the client has nothing of it. */
  readonly rest: Rest | undefined;
}

/** The answer goes on, needs nothing but its end, or cannot be had: then the client is told so. */
export type Recovery =
  | { readonly how: 'resumed' | 'retried'; readonly answer: Response }
  | { readonly how: 'continued'; readonly answer: Response; readonly seam: Seam }
  | { readonly how: 'spent' }
  | { readonly how: 'not'; readonly failure: WireFailure };

/** These are nobody's to mend: the client is gone, or its time is up. */
const isFinal = (code: ErrorCode): boolean =>
  code === 'client_gone' || code === 'client_stalled' || code === 'total_timeout';

/** The engine may still work on it. */
const lostCode = 'link_lost' as const;
const isLinkGone = (code: ErrorCode): boolean => code === lostCode;

/** Says nothing of the stream, only that an object or a link was lost before it could be asked for. */
const isUnheard = (code: ErrorCode): boolean => code === lostCode || code === 'internal';

const whyNobody = (code: ErrorCode): string =>
  code === 'not_continuable'
    ? 'no other replica’s engine can go on from a part of an answer, as far as its agent knows (--profile)'
    : `no other replica could take it (${code})`;

const tooLate = { code: 'total_timeout', message: "The request's time is up." } as const;

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
  /** Attempts that reached a replica, by region. */
  readonly #tries = new Map<RegionName, number>();
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

  /** What becomes of an answer that broke. */
  async recover(failure: WireFailure, { offset, rest }: Progress): Promise<Recovery> {
    const current = this.#current;
    if (current === undefined || isFinal(failure.code) || this.#isOver) return this.#not(failure);
    const because = rest !== undefined && rest !== 'spent' && 'because' in rest ? rest.because : undefined;
    const canGoOn = because === undefined && (rest === 'spent' || this.#options.isReplayable());
    if (isLinkGone(failure.code)) {
      const patienceMs = rest === undefined ? resumeMsMin : resumeMsContinuable;
      const answer = await this.#resume(current, offset, canGoOn ? patienceMs : resumeMsMax);
      if (answer !== undefined) return { how: 'resumed', answer };
    }
    if (rest === 'spent') return { how: 'spent' };
    if (!canGoOn || this.#isOver || !mayTryNext(failure.code)) return this.#not(failure, because);
    // Whoever failed before may be well again.
    this.#failures.length = 0;
    this.#failed(current.region, current.answer, failure.code);
    if (rest === undefined || !('seam' in rest)) {
      const answer = await this.#place(this.#options.body, this.#regionsFrom(current.region), 'retried');
      return answer === undefined ? this.#not(failure) : { how: 'retried', answer };
    }
    const answer = await this.#continue(rest.body, current.region);
    if (answer !== undefined) return { how: 'continued', answer, seam: rest.seam };
    const last = this.#failures.at(-1);
    return this.#not(failure, last && whyNobody(last.code));
  }

  #not({ code, message }: WireFailure, because?: string): Recovery {
    const why = because === undefined ? '' : ` It could not be continued: ${because}.`;
    const failure = this.#isLate && !isFinal(code) ? tooLate : { code, message: message + why };
    return { how: 'not', failure };
  }

  /**
   * Nobody else could be asked: the stream is there for as long as its agent keeps it; where it is not, the node that
   * is back is asked anew.
   */
  async #afterLoss(): Promise<Response | undefined> {
    const last = this.#failures.at(-1);
    if (this.#lost === undefined || last === undefined || !mayTryNext(last.code) || this.#isOver) {
      return undefined;
    }
    const resumed = await this.#resume(this.#lost, 0, resumeMsMax);
    if (resumed !== undefined || this.#isOver || !this.#options.isReplayable()) return resumed;
    const before = this.#failures.splice(0);
    const answer = await this.#place(this.#options.body, this.#options.regions, 'retried');
    this.#failures.unshift(...before);
    return answer;
  }

  /** Another replica's answer. When a host dies the others get all that it had, so who finds none asks once more. */
  async #continue(rest: AttemptBody, region: RegionName): Promise<Response | undefined> {
    for (let rounds = 1; ; rounds += 1) {
      const answer = await this.#place(rest, this.#regionsFrom(region), 'continued');
      const last = this.#failures.at(-1);
      const mayAgain =
        rounds < continuationRoundsMax &&
        this.#continuations < continuationsMax &&
        last !== undefined &&
        mayTryNext(last.code);
      if (answer !== undefined || !mayAgain || this.#isOver) return answer;
      await this.#pause();
      // The one that broke may be back by now.
      this.#failures.length = 0;
    }
  }

  /** Nothing more is to be asked: the client left, or its time is up. */
  get #isOver(): boolean {
    return this.#isGone || this.#isLate;
  }

  get #isLate(): boolean {
    return this.#options.terms.remainingMs() === 0;
  }

  get #isGone(): boolean {
    return this.#options.terms.gone.aborted;
  }

  /**
   * Asks until somebody answers; undefined when nobody did who was asked. A region whose nodes are away just now is
   * waited for only where no other one serves the model.
   */
  async #place(
    body: AttemptBody,
    regions: readonly RegionName[],
    occasion: Occasion,
  ): Promise<Response | undefined> {
    const isOnly = regions.length === 1;
    const answer = await this.#ask(body, regions, occasion, isOnly);
    if (answer !== undefined || isOnly || this.#isOver) return answer;
    const last = this.#failures.at(-1);
    if (last !== undefined && !mayTryNext(last.code)) return undefined;
    const away = this.#failures.filter(({ answer }) => answer.headers.has(awayHeader));
    if (away.length === 0) return undefined;
    for (const failure of away) this.#failures.splice(this.#failures.indexOf(failure), 1);
    const patient = away.map(({ region }) => region);
    const late = await this.#ask(body, patient, occasion, true);
    // Told in the order of the regions; what ended the search stays last.
    if (late === undefined && this.#failures.every(({ code }) => mayTryNext(code))) {
      this.#failures.sort((one, other) => regions.indexOf(one.region) - regions.indexOf(other.region));
    }
    return late;
  }

  async #ask(
    body: AttemptBody,
    regions: readonly RegionName[],
    occasion: Occasion,
    awaitsNodes: boolean,
  ): Promise<Response | undefined> {
    for (const region of regions) {
      while (this.#mayTry(region, occasion)) {
        if (this.#isLate) return this.#late(region);
        const isFirst = occasion === 'first' && this.#failures.length > 0;
        const asked = isFirst ? ('retried' as const) : occasion;
        const asking = { region, earlier: this.#earlier, occasion: asked, awaitsNodes };
        const { answer, token } = await attempt(asking, body, this.#options.terms);
        const code = failureCode(answer);
        const isPlaced = placeOf(answer).node !== undefined;
        const tried: Try = { region, token, answer };
        this.#current = tried;
        if (isPlaced || code === undefined || isLinkGone(code)) this.#count(region, occasion);
        if (code === undefined) return answer;
        this.#failed(region, answer, code);
        if (this.#isGone || !mayTryNext(code) || !this.#options.isReplayable()) return undefined;
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

  /** A request that ends each engine it meets ends no more than these, however often it is taken up again. */
  #mayTry(region: RegionName, occasion: Occasion): boolean {
    if (occasion === 'continued') return this.#continuations < continuationsMax;
    return (this.#tries.get(region) ?? 0) < attemptsPerRegionMax;
  }

  #count(region: RegionName, occasion: Occasion): void {
    if (occasion === 'continued') this.#continuations += 1;
    else this.#tries.set(region, (this.#tries.get(region) ?? 0) + 1);
  }

  #late(region: RegionName): undefined {
    this.#failed(region, errorResponse(new CognitoraError(tooLate.code, tooLate.message)), tooLate.code);
  }

  /** As long as nodes take to dial a region's new object, and replicas to be free. */
  async #pause(): Promise<undefined> {
    await this.#options.pause(Math.min(resumeMsMin, this.#options.terms.remainingMs()));
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
    const { terms, pause } = this.#options;
    const patientUntilLeftMs = Math.max(0, terms.remainingMs() - waitMs);
    for (;;) {
      const resumed = await resume(lost, earlier, terms.remainingMs() - patientUntilLeftMs, terms);
      const code = failureCode(resumed);
      if (code === undefined) {
        this.#current = { region, token, answer: resumed };
        return resumed;
      }
      // Whom it asked is gone in its turn: the next one has the node's link in a moment.
      const leftMs = terms.remainingMs() - patientUntilLeftMs;
      if (!isUnheard(code) || leftMs <= 0 || this.#isGone) return undefined;
      await pause(Math.min(resumeAgainMs, leftMs));
    }
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
