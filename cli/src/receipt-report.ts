/** The decisions about a request as the admin API answers them, and how a person reads them. Asks nobody. */
import { printable } from '@cognitora/protocol/printable';
import { relativeTime, table } from './terminal.ts';

interface Subject {
  readonly region: string;
  readonly model: string;
  readonly decidedAtMs: number;
  /** Where it was before; without a node nobody was chosen. */
  readonly earlier: readonly {
    readonly region: string;
    readonly code: string;
    readonly node?: string;
    readonly replica?: string;
  }[];
  readonly occasion: 'first' | 'retried' | 'resumed' | 'continued';
  /** How long it waited for a seat. */
  readonly queuedMs: number;
}

export interface PlacedAnswer extends Subject {
  readonly outcome: 'placed';
  readonly policy: string;
  readonly node: string;
  readonly replica: string;
  readonly trust: string;
  /** Absent of a prompt that nobody read. */
  readonly promptTokens?: number;
  readonly promptBlocks: number;
  /** Of a block, about. */
  readonly blockTokens: number;
  readonly expectedTokens: number;
  /** Replicas that were left out since their agents fell silent about their load. */
  readonly stale: number;
  readonly candidates: number;
  readonly considered: readonly {
    readonly node: string;
    readonly replica: string;
    readonly trust: string;
    readonly cost: number;
    readonly cachedTokens: number;
    readonly live: number;
    readonly waitMs: number;
    readonly prefillMs: number;
    readonly fetchMs?: number;
  }[];
  /** Where the chosen one had better fetch the prompt's beginning from. */
  readonly kvFrom?: { readonly node: string; readonly blocks: number };
  readonly cells: {
    readonly asked: readonly {
      readonly cell: number;
      readonly askedFor: string;
      readonly replicas: number;
      readonly candidates: number;
      readonly cost?: number;
    }[];
    readonly taken: number;
    readonly because: string;
  };
  readonly ended?: {
    readonly atMs: number;
    /** Why it ended before its end; absent: it did not. */
    readonly code?: string;
    /** Of an engine's own error; absent: it answered none. */
    readonly engineStatus?: number;
    readonly record?: {
      readonly totalMs: number;
      readonly firstByteMs?: number;
      readonly usage?: { readonly promptTokens: number; readonly cachedTokens?: number };
    };
  };
}

export interface RefusedAnswer extends Subject {
  readonly outcome: 'refused';
  readonly code: string;
  /** Which limit kept it out; absent where none did. */
  readonly admission?: {
    readonly reason: string;
    readonly limits: {
      readonly queueMax: number;
      readonly queueMsMax: number;
      readonly firstTokenMs: number;
      readonly tenantConcurrency?: number;
    };
  };
  readonly replicas: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly keptBack: readonly { readonly node: string; readonly replica: string; readonly why: string }[];
}

export interface RequestAnswer {
  readonly requestId: string;
  /** Newest first. */
  readonly decisions: readonly (PlacedAnswer | RefusedAnswer)[];
}

/** Hosts' names by their ids, as far as they are known. */
export type NodeNames = ReadonlyMap<string, string>;

/** Its agent asked its engine for nothing. */
const notContinuable = 'not_continuable';

/** Ends that are nobody's failure. */
const cutShort: Readonly<Record<string, string>> = {
  total_timeout: 'Its deadline passed',
  client_gone: 'Its client left',
  client_stalled: 'Its client stopped reading',
};

type Ended = NonNullable<PlacedAnswer['ended']>;

/** What the engine said, as far as it said anything. */
const saidOf = ({ record, engineStatus }: Ended): string => {
  // What it cannot do, or will not, says nothing of how well it is.
  const isRefusal = engineStatus === 501 || (engineStatus !== undefined && engineStatus < 500);
  if (engineStatus !== undefined)
    return `The engine ${isRefusal ? 'refused it' : 'failed'} with ${engineStatus}`;
  const usage = record?.usage;
  if (usage === undefined) return 'The engine counted no tokens';
  const cached = usage.cachedTokens === undefined ? 'no word on its cache' : `${usage.cachedTokens} cached`;
  return `The engine counted ${usage.promptTokens} prompt tokens, ${cached}`;
};

const endOf = ({ ended, decidedAtMs }: PlacedAnswer): string => {
  if (ended === undefined) return 'It is still running.';
  const { record, code, atMs } = ended;
  if (code === notContinuable) return `Its engine cannot go on from a part of an answer: ${code}.`;
  const afterMs = record?.totalMs ?? Math.max(0, atMs - decidedAtMs);
  const short = code && cutShort[code];
  const broken =
    code === undefined ? '' : `${short ?? 'It broke off'} after ${afterMs} ms${short ? '' : `: ${code}`}.`;
  if (record === undefined) return broken || 'It ended before its agent could say how.';
  const { firstByteMs } = record;
  const first = firstByteMs === undefined ? '' : `; first byte after ${firstByteMs} ms`;
  if (broken !== '') return `${saidOf(ended)}${first}.\n${broken}`;
  return `${saidOf(ended)}${first}; over after ${afterMs} ms.`;
};

const takenBecause: Readonly<Record<string, string>> = {
  only: 'no other could serve it',
  own: 'no other was cheaper by a fifth',
  cheaper: 'it was cheaper by a fifth',
  fallback: 'nobody in those asked first could serve it',
};

/** Nothing where the model has one cell. */
const cellsOf = ({ cells: { asked, taken, because } }: PlacedAnswer): readonly string[] => {
  if (asked.length === 1 && asked[0]?.askedFor === 'only') return [];
  const rows = asked.map(({ cell, askedFor, replicas, candidates, cost }) => [
    ...[cell === taken ? '*' : '', cell, askedFor, replicas, candidates, cost ?? '-'],
  ]);
  const header = ['', 'CELL', 'ASKED FOR', 'REPLICAS', 'ELIGIBLE', 'BEST COST'];
  return [`${table(header, rows)}\n`, `Cell ${taken} was taken: ${takenBecause[because] ?? because}.\n`];
};

/** What is expected in the chosen cache, or why nothing can be. */
const expectedIn = (placed: PlacedAnswer): string => {
  const { promptTokens, promptBlocks, blockTokens, expectedTokens, trust } = placed;
  if (promptTokens !== undefined && promptBlocks === 0)
    return `shorter than one block of ${blockTokens} tokens: not tracked.`;
  const fetched = placed.kvFrom === undefined ? '' : ', fetched KV included';
  return `${Math.round(expectedTokens)} tokens expected in the chosen cache${fetched} (${trust}).`;
};

/** Nothing where no KV moves between hosts. */
const fetchOf = (placed: PlacedAnswer, names: NodeNames): readonly string[] => {
  const { kvFrom, blockTokens, replica, promptTokens, promptBlocks, expectedTokens } = placed;
  if (kvFrom === undefined) return [];
  // As all its figures: of the prompt's own scale, which knows better than a block's about.
  const isScaled = promptTokens !== undefined && promptBlocks > 0;
  const perBlock = isScaled ? promptTokens / promptBlocks : blockTokens;
  const name = names.get(kvFrom.node);
  const from = name === undefined ? kvFrom.node : `${printable(name)} (${kvFrom.node})`;
  const tokens = Math.round(Math.min(expectedTokens, kvFrom.blocks * perBlock));
  return [`Of these, ${replica} was to fetch the first ${tokens} or so from ${from}.\n`];
};

const placedReport = (placed: PlacedAnswer, names: NodeNames): readonly string[] => {
  // Its node has the stream: there was nobody to choose among.
  if (placed.occasion === 'resumed') return [endOf(placed)];
  const isAnyFetch = placed.considered.some(({ fetchMs = 0 }) => fetchMs > 0);
  const rows = placed.considered.map((candidate) => [
    candidate.node === placed.node && candidate.replica === placed.replica ? '*' : '',
    candidate.node,
    candidate.replica,
    candidate.cost,
    candidate.cachedTokens,
    candidate.trust,
    candidate.live,
    Math.round(candidate.waitMs),
    Math.round(candidate.prefillMs),
    ...(isAnyFetch ? [Math.round(candidate.fetchMs ?? 0)] : []),
  ]);
  const costs = ['WAIT MS', 'PREFILL MS', ...(isAnyFetch ? ['FETCH MS'] : [])];
  const header = ['', 'NODE', 'REPLICA', 'COST', 'CACHED', 'TRUST', 'LIVE', ...costs];
  const { policy, candidates, promptTokens, stale } = placed;
  const length = promptTokens === undefined ? 'an unread prompt' : `about ${promptTokens} prompt tokens`;
  return [
    `Decided by ${policy} among ${candidates}: ${length},`,
    `${expectedIn(placed)}\n`,
    ...fetchOf(placed, names),
    ...(stale === 0 ? [] : [`Left out, since their load was told too long ago: ${stale}.\n`]),
    `${table(header, rows)}\n`,
    ...cellsOf(placed),
    endOf(placed),
  ];
};

/** Not because of any replica alone: all were busy for too long, or its tenant has enough. */
const turnedAway: Readonly<Record<string, string>> = {
  overloaded: 'by what its replicas had to do, its first token would have come too late',
  retry_budget_spent: 'too many requests are tried again now',
};

type Admission = NonNullable<RefusedAnswer['admission']>;

/** By the reason that admission had, with the limit that held. */
const keptOut: Readonly<Record<string, (limits: Admission['limits']) => string>> = {
  tenant_concurrency: ({ tenantConcurrency }) =>
    `its tenant already had its ${tenantConcurrency} request${tenantConcurrency === 1 ? '' : 's'} at once`,
  tenant_share: ({ queueMax }) =>
    `the queue of ${queueMax} was full, and its tenant had more than its share of it`,
  queue_full: ({ queueMax }) => `${queueMax} waited already, as many as may`,
  predicted_late: ({ queueMsMax, firstTokenMs }) =>
    `it would have waited for over ${queueMsMax / 1_000} s, or had its first token after ${firstTokenMs} ms`,
  queue_time: ({ queueMsMax }) => `it waited for ${queueMsMax / 1_000} s, as long as it may`,
  deadline: () => 'its own deadline passed while it waited',
  client_gone: () => 'its client left while it waited',
};

const refusedReport = (refused: RefusedAnswer): readonly string[] => {
  const { code, replicas, reasons, keptBack, admission } = refused;
  const words = admission && keptOut[admission.reason]?.(admission.limits);
  if (words !== undefined) return [`Refused, ${code}. ${admission?.reason}: ${words}.`];
  const why = turnedAway[code];
  if (why !== undefined) return [`Refused, ${code}: ${why}.`];
  if (replicas === 0) return [`Refused, ${code}: no replica here serves it now.`];
  const counts = Object.entries(reasons).map(([why, count]) => `${count} ${why}`);
  const rows = keptBack.map(({ node, replica, why }) => [node, replica, why]);
  const more = replicas > rows.length ? [`\nand ${replicas - rows.length} more`] : [];
  return [
    `Refused, ${code}: of ${replicas} ${replicas === 1 ? 'replica' : 'replicas'} none was eligible`,
    `(${counts.join(', ')}).\n`,
    table(['NODE', 'REPLICA', 'WHY NOT'], rows),
    ...more,
  ];
};

/** Whether an engine went on with it, as far as that is known. */
const continuedBy = ({ ended }: PlacedAnswer): string => {
  if (ended === undefined) return 'Continues here';
  const { code, engineStatus, record } = ended;
  const isBegun = engineStatus === undefined && (code === undefined || record?.firstByteMs !== undefined);
  return isBegun ? 'Continued here' : 'Asked to continue here';
};

const placeIn = (names: NodeNames, node: string, replica: string): string =>
  `${names.get(node) ?? node}/${printable(replica)}`;

/** What was decided about, and what came of it where that is not told below. */
const occasionOf = (decision: PlacedAnswer | RefusedAnswer, names: NodeNames): string => {
  const before = decision.earlier
    .map(({ region, node, replica = '', code }) =>
      node === undefined ? `${region}: ${code}` : `${region} (${placeIn(names, node, replica)}): ${code}`,
    )
    .join(', ');
  const after = before === '' ? '' : `, after ${before}`;
  const isPlaced = decision.outcome === 'placed';
  switch (decision.occasion) {
    case 'first':
      return `First decision${after}.`;
    case 'retried':
      return `Tried again${after}.`;
    case 'resumed': {
      const place = isPlaced ? ` (${placeIn(names, decision.node, decision.replica)})` : '';
      return `Went on over its node's next link${place}${after}.`;
    }
    case 'continued':
      return isPlaced
        ? `${continuedBy(decision)} from what its client had been sent${after}.`
        : `Looked for one to continue on${after}; found nobody.`;
  }
};

/** All decisions under a request's id, oldest first, for people. */
export const requestReport = (
  { requestId, decisions }: RequestAnswer,
  nowMs: number,
  names: NodeNames = new Map(),
): string =>
  decisions
    .toReversed()
    .map((decision, at, { length }) => {
      const which = length === 1 ? '' : ` (${at + 1} of ${length})`;
      const { model, region, decidedAtMs } = decision;
      return [
        `${requestId}${which}  ${printable(model)}, region ${region}, ${relativeTime(decidedAtMs, nowMs)}`,
        ...(decision.queuedMs === 0 ? [] : [`It waited ${decision.queuedMs} ms for a seat.`]),
        occasionOf(decision, names),
        '',
        ...(decision.outcome === 'placed' ? placedReport(decision, names) : refusedReport(decision)),
      ].join('\n');
    })
    .join('\n\n');
