/**
 * What a region knows of one model that it serves: the cells its replicas sit in, how its prompts are digested, and by
 * which policies it is decided. Pure. Owns which of several prompt profiles leads: digests of different profiles never
 * meet, so replicas with another one than the leading profile are blind. Knows no nodes: `Owner` is who sits there.
 */
import type { Epoch } from '@cognitora/protocol/ids';
import type { KvFeedOpen } from '@cognitora/protocol/kv';
import type { PromptProfile } from '@cognitora/protocol/prefix/profile';
import type { Policy } from '../policy/policy.ts';
import { Cell, type CellRequest, type Choice } from './cell.ts';
import { type Anchor, anchorOf, rendezvousScore } from './cell-choice.ts';
import type { CellPlan } from './cell-plan.ts';
import type { MapBudget } from './map-budget.ts';
import type { Member, ReplicaWork } from './member.ts';
import { ProfileLead, type ProfileOffer } from './profile-lead.ts';
import { Rates } from './rates.ts';
import { replicasPerCellMax } from './replica-slots.ts';
import type { ShadowCounts } from './shadow.ts';
import type { SnapshotTurns } from './snapshot-turns.ts';
import type { TokenScale } from './token-scale.ts';
import type { Truth } from './truth.ts';

/** How a model's requests are decided, and by what beside it for comparison. */
export interface Policies {
  readonly policy: Policy;
  readonly shadow: Policy | undefined;
}

/** A replica's place in a model. */
export interface Seat {
  readonly cell: Cell;
  readonly member: Member;
  /** What its agent last said of its cache. */
  offer: { readonly epoch: Epoch; readonly open: KvFeedOpen } | undefined;
}

export interface ServedModelOptions<Owner> {
  readonly model: string;
  /** Any 32-bit number that peers do not know: it keeps them from crowding the maps. */
  readonly secret: number;
  readonly turns: SnapshotTurns;
  readonly cellReplicasMax: number | undefined;
  readonly mapBytes: number | undefined;
  readonly budget: MapBudget;
  /** Outlives the model's replicas, too: they come back to their cells. */
  readonly plan: CellPlan;
  readonly policies: Policies;
  /** The node that this is of, when it is ready: it has a vote on how prompts are written. */
  readonly voterOf: (owner: Owner) => string | undefined;
  /** Outlives the model's replicas: when all links are cut at once they come back to what was learned. */
  readonly scale: TokenScale;
}

interface Seated<Owner> {
  readonly seat: Seat;
  readonly owner: Owner;
  readonly number: number;
  /** As the plan knows it. */
  readonly replica: string;
}

/**
 * What a cell is asked for: the model has no other, the prompt's beginning names it, it is the least loaded, the prompt
 * is too short to name one, or nobody in those can serve the request.
 */
type AskedFor = 'only' | 'anchor' | 'load' | 'short' | 'fallback';

interface Question {
  readonly number: number;
  readonly cell: Cell;
  readonly askedFor: AskedFor;
}

/** What a cell answered. */
export interface AskedCell {
  /** Its number, which it keeps while it lives. */
  readonly cell: number;
  readonly askedFor: AskedFor;
  readonly replicas: number;
  /** Of those, how many could have served it, and at which cost the best; undefined when none could. */
  readonly candidates: number;
  readonly cost: number | undefined;
}

/** Which cells were asked, in order, and why the one that was taken was. */
export interface CellVerdict {
  readonly asked: readonly AskedCell[];
  readonly taken: number;
  /**
   * Nobody else could; it was asked first and no other is cheaper by a fifth; it is cheaper by that; or nobody in those
   * that were asked first could serve the request.
   */
  readonly because: 'only' | 'own' | 'cheaper' | 'fallback';
}

export interface CellChoice {
  readonly cell: Cell;
  readonly choice: Choice;
  readonly verdict: CellVerdict;
}

export class ServedModel<Owner> {
  readonly scale: TokenScale;
  readonly #options: ServedModelOptions<Owner>;
  /** By number. A cell keeps its number, so that one that goes moves only its own share of prompts. */
  readonly #cells = new Map<number, Cell>();
  readonly #seats = new Map<Member, Seated<Owner>>();
  /** Cells are compared by cost, so they must not learn apart. */
  readonly #sharedRates = (): Rates => {
    this.#rates ??= new Rates();
    return this.#rates;
  };
  #rates: Rates | undefined;
  #askedAtMs: number | undefined;
  #policies: Policies;
  /** Of cells that closed since the shadow was chosen. */
  #shadowOfClosed: ShadowCounts = { decisions: 0, differences: 0 };
  readonly #lead = new ProfileLead();

  constructor(options: ServedModelOptions<Owner>) {
    this.#options = options;
    this.scale = options.scale;
    this.#policies = options.policies;
  }

  get isEmpty(): boolean {
    return this.#seats.size === 0;
  }

  /** By number. */
  get cells(): ReadonlyMap<number, Cell> {
    return this.#cells;
  }

  /** When a request last asked for it; undefined while none did. */
  get askedAtMs(): number | undefined {
    return this.#askedAtMs;
  }

  get policies(): Policies {
    return this.#policies;
  }

  /** What the shadow policy saw since it was chosen, in all cells that there were. */
  get shadowCounts(): ShadowCounts {
    let counts = this.#shadowOfClosed;
    for (const { shadow } of this.#cells.values()) counts = withMore(counts, shadow);
    return counts;
  }

  /** How prompts are to be written for their digests; undefined while no replica's cache is known. */
  get profile(): PromptProfile | undefined {
    return this.#lead.leader;
  }

  *owners(): Generator<Owner> {
    for (const { owner } of this.#seats.values()) yield owner;
  }

  ownerOf(member: Member): Owner | undefined {
    return this.#seats.get(member)?.owner;
  }

  /** Takes a replica in, known as `replica` whenever it comes. */
  sit(
    owner: Owner,
    replica: string,
    work: ReplicaWork,
    ask: (member: Member) => number,
    truth: Truth,
    nowMs: number,
  ): Seat {
    const number = this.#numberFor(replica, nowMs);
    const cell = this.#cells.get(number) ?? this.#addCell(number);
    this.#options.plan.came(this.#options.model, replica);
    const member = cell.join(work, ask, truth);
    const seat: Seat = { cell, member, offer: undefined };
    this.#seats.set(member, { seat, owner, number, replica });
    return seat;
  }

  rise(seat: Seat, nowMs: number): void {
    const seated = this.#seats.get(seat.member);
    if (seated === undefined) return;
    this.#seats.delete(seat.member);
    this.#options.plan.left(this.#options.model, seated.replica, nowMs);
    seat.cell.leave(seat.member, nowMs);
    if (seat.cell.size === 0) {
      this.#cells.delete(seated.number);
      this.#shadowOfClosed = withMore(this.#shadowOfClosed, seat.cell.shadow);
      seat.cell.close();
    }
    this.#count(nowMs);
  }

  /** An agent says how well it knows this replica's cache, and how its prompts are written. */
  offer(seat: Seat, epoch: Epoch, open: KvFeedOpen, nowMs: number): void {
    const isOther = seat.offer !== undefined && seat.offer.open.profile.id !== open.profile.id;
    seat.offer = { epoch, open };
    if (isOther) seat.member.close(nowMs);
    this.#count(nowMs);
    this.#follow(seat, nowMs);
  }

  /** Somebody asks for this model: what it is worth, and who leads, shows then. */
  noteAsked(nowMs: number): void {
    this.#askedAtMs = nowMs;
    if (this.#lead.isDue(nowMs)) this.#count(nowMs);
    for (const cell of this.#cells.values()) {
      if (!cell.asked(nowMs)) continue;
      for (const { seat } of this.#seats.values()) if (seat.cell === cell) this.#follow(seat, nowMs);
    }
  }

  usePolicies(policies: Policies): void {
    this.#policies = policies;
    this.#shadowOfClosed = { decisions: 0, differences: 0 };
    for (const cell of this.#cells.values()) setPolicies(cell, policies);
  }

  /** The best choice of the cells that the prompt belongs to; of any cell when nobody there can serve it. */
  choose(request: CellRequest): CellChoice | undefined {
    const questions = this.#questions(request);
    const best = bestOf(questions, request);
    if (best !== undefined || questions.length === this.#cells.size) return best;
    const found = bestOf(this.#questionsOf('fallback'), request);
    if (found === undefined) return undefined;
    const { taken, asked } = found.verdict;
    const first = questions.map((question) => answerOf(question, undefined));
    const last = asked.filter(({ cell }) => cell === taken);
    return { ...found, verdict: { asked: [...first, ...last], taken, because: 'fallback' } };
  }

  /**
   * With several cells at most two: the one that the prompt's anchor names, by shares as large as the cells are, and
   * the least loaded, by lot among equals. A policy that looks at no cache asks the second alone. A prompt too short
   * for an anchor may be held anywhere: of few cells all are asked, the least loaded first.
   */
  #questions({ chain, random }: CellRequest): readonly Question[] {
    if (this.#cells.size <= 1) return this.#questionsOf('only');
    const idlest = this.#idlest(random);
    if (this.#policies.policy.followsCaches !== true) return idlest;
    const anchor = anchorOf(chain);
    if (anchor !== undefined) return joined(this.#namedBy(anchor), idlest);
    const isSought = chain.length > 0 && this.#cells.size <= cellsOfShortMax;
    return isSought ? joined(idlest, this.#questionsOf('short')) : idlest;
  }

  #questionsOf(askedFor: AskedFor): readonly Question[] {
    return Array.from(this.#cells, ([number, cell]) => ({ number, cell, askedFor }));
  }

  #namedBy(anchor: Anchor): readonly Question[] {
    let named: Question | undefined;
    let highest = -1;
    for (const [number, cell] of this.#cells) {
      const score = rendezvousScore(anchor, number, cell.size);
      if (score <= highest) continue;
      highest = score;
      named = { number, cell, askedFor: 'anchor' };
    }
    return named === undefined ? [] : [named];
  }

  #idlest(random: () => number): readonly Question[] {
    const questions = this.#questionsOf('load');
    const least = Math.min(...questions.map(({ cell }) => cell.meanLive));
    const equals = questions.filter(({ cell }) => cell.meanLive === least);
    return equals.slice(Math.floor(random() * equals.length)).slice(0, 1);
  }

  get #replicasMax(): number {
    return Math.min(this.#options.cellReplicasMax ?? replicasPerCellMax, replicasPerCellMax);
  }

  /** A model with one cell needs no plan; with the second, all places are kept. */
  #numberFor(replica: string, nowMs: number): number {
    const { plan, model } = this.#options;
    if (!plan.has(model)) {
      if (!this.#cells.get(0)?.isFull) return 0;
      plan.begin(
        model,
        Array.from(this.#seats.values(), (seated) => seated.replica),
      );
    }
    const kept = plan.cellOf(model, replica);
    // It may be full nonetheless when cells are smaller now than they were.
    if (kept !== undefined && !this.#cells.get(kept)?.isFull) return kept;
    return plan.assign(model, replica, this.#replicasMax, nowMs);
  }

  #addCell(number: number): Cell {
    const { secret, turns, mapBytes, budget } = this.#options;
    const cell = new Cell({
      ...{ secret, turns, budget, replicasMax: this.#replicasMax, rates: this.#sharedRates },
      ...(mapBytes === undefined ? {} : { mapBytes }),
    });
    setPolicies(cell, this.#policies);
    this.#cells.set(number, cell);
    return cell;
  }

  /** Digests of an other profile mean nothing: with another leader those who followed are blind, and ask anew. */
  #count(nowMs: number): void {
    if (!this.#lead.count(this.#offers(), nowMs)) return;
    for (const { seat } of this.#seats.values()) this.#follow(seat, nowMs);
  }

  *#offers(): Iterable<ProfileOffer> {
    for (const { seat, owner } of this.#seats.values()) {
      if (seat.offer === undefined || seat.offer.open.trust === 'blind') continue;
      const { profile } = seat.offer.open;
      // Who can claim nothing has no say in how others' prompts are written.
      if (profile.claims !== 'none') yield { profile, voter: this.#options.voterOf(owner) };
    }
  }

  /** What a replica's agent offers counts as far as its profile leads. */
  #follow({ member, offer }: Seat, nowMs: number): void {
    if (offer === undefined) return;
    const { trust, profile } = offer.open;
    const isLed = trust !== 'blind' && profile.id === this.#lead.leader?.id;
    member.announced = isLed ? trust : 'blind';
    if (isLed) member.feed.open(offer.epoch, nowMs);
    else member.close(nowMs);
  }
}

const withMore = (counts: ShadowCounts, more: ShadowCounts | undefined): ShadowCounts => ({
  decisions: counts.decisions + (more?.decisions ?? 0),
  differences: counts.differences + (more?.differences ?? 0),
});

const setPolicies = (cell: Cell, { policy, shadow }: Policies): void => {
  cell.usePolicy(policy);
  cell.useShadow(shadow);
};

/** A prompt without an anchor is looked for in so many cells: each costs a match, of 15 blocks at most. */
const cellsOfShortMax = 4;

/** Each cell once. */
const joined = (first: readonly Question[], then: readonly Question[]): readonly Question[] => {
  const numbers = new Set(first.map(({ number }) => number));
  return [...first, ...then.filter(({ number }) => !numbers.has(number))];
};

/**
 * What share of the cost a later cell must save against the one before it: the first is where the next turns will
 * look, and the same prompt in another cell is found again only by luck.
 */
const laterCellGain = 0.2;

/** Asks these cells in order: a later one is taken only where it is much cheaper. */
const bestOf = (questions: readonly Question[], request: CellRequest): CellChoice | undefined => {
  const asked: AskedCell[] = [];
  let found: { readonly number: number; readonly cell: Cell; readonly choice: Choice } | undefined;
  let because: CellVerdict['because'] = 'only';
  for (const question of questions) {
    const { number, cell } = question;
    const choice = cell.weigh(request);
    asked.push(answerOf(question, choice));
    if (choice === undefined) continue;
    const leastGain = laterCellGain * Math.abs(found?.choice.cost ?? 0);
    const isCheaper = found !== undefined && found.choice.cost - choice.cost > leastGain;
    if (found !== undefined) because = isCheaper ? 'cheaper' : 'own';
    if (found === undefined || isCheaper) found = { number, cell, choice };
  }
  if (found === undefined) return undefined;
  const { number: taken, cell, choice } = found;
  return { cell, choice, verdict: { asked, taken, because } };
};

const answerOf = ({ number, cell, askedFor }: Question, choice: Choice | undefined): AskedCell => ({
  ...{ cell: number, askedFor, replicas: cell.size },
  ...{ candidates: choice?.candidates.length ?? 0, cost: choice?.cost },
});
