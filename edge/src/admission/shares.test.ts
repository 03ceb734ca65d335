/** What two tenants get of one engine that both want more of than there is: tokens, by the engine's own count. */
import { expect, test } from 'vitest';
import type { Reservation } from '../directory/load.ts';
import { Admission, type Ask } from './admission.ts';

/** What a tenant's requests are like. */
interface Habit {
  /** Requests that it has open at once. */
  readonly open: number;
  /** What each asks for at most; an answer has fewer. */
  readonly tokensMax: number;
  readonly isStream: boolean;
  /** Its clients hang up behind so much of an answer; undefined: they read it all. */
  readonly leavesAt?: number;
}

const usual: Habit = { open: 20, tokensMax: 40, isStream: true };
const flood: Habit = { ...usual, open: 60 };

const slots = 8;
const tickMs = 10;
const msPerToken = 20;
const promptTokens = 10;
/** By the bytes of its body. */
const promptTokensGuessed = 45;
const bytesPerToken = 220;

interface Running {
  readonly tenant: string;
  readonly reservation: Reservation;
  readonly fromMs: number;
}

/** The share of the tokens of the tenant `quiet`, once they have been at it for a while. */
const shareOf = (
  habits: { readonly quiet: Habit; readonly flood: Habit },
  { answerTokens = 41, lastsMs = 60_000 } = {},
): number => {
  let nowMs = 0;
  let next = 1;
  const running = new Set<Running>();
  const open = { quiet: 0, flood: 0 };
  const had = { quiet: 0, flood: 0 };
  const admission = new Admission({ roomOf: () => (running.size < slots ? 'room' : 'full') });
  admission.useModel('m', { queueMsMax: 3_600_000, firstTokenMs: 3_600_000 });
  const enter = (tenant: 'quiet' | 'flood'): void => {
    const { tokensMax } = habits[tenant];
    open[tenant] += 1;
    const costs = { tokens: promptTokensGuessed + tokensMax, answerTokens: tokensMax };
    const ask: Ask = {
      ...{ model: 'm', tenant, priority: 5, ...costs, isRetry: false, awaitsNodes: true, remainingMs: 1e9 },
    };
    const granted = (): void => {
      const reservation = next as Reservation;
      next += 1;
      admission.booked(reservation, ask);
      running.add({ tenant, reservation, fromMs: nowMs });
    };
    if (admission.enter(ask, { granted, refused: () => {} }, nowMs) === undefined) granted();
  };
  const tick = (one: Running): void => {
    const tenant = one.tenant as 'quiet' | 'flood';
    const { isStream, leavesAt } = habits[tenant];
    const tokens = (nowMs - one.fromMs) / msPerToken;
    if (isStream && tokens >= 1) admission.firstByte(one.reservation, nowMs);
    const isLeft = leavesAt !== undefined && tokens >= leavesAt * answerTokens;
    if (!isLeft && tokens < answerTokens) return;
    running.delete(one);
    open[tenant] -= 1;
    if (nowMs > 10_000) had[tenant] += promptTokens + tokens;
    const bodyBytes = isStream ? tokens * bytesPerToken : 0;
    const spent = isLeft
      ? { bodyBytes, code: 'client_gone' as const }
      : { bodyBytes: tokens * bytesPerToken, promptTokens, completionTokens: tokens };
    admission.over(one.reservation, nowMs, spent);
  };
  for (; nowMs < lastsMs; nowMs += tickMs) {
    for (const tenant of ['quiet', 'flood'] as const) {
      while (open[tenant] < habits[tenant].open) enter(tenant);
    }
    for (const one of running) tick(one);
    admission.grant(nowMs);
  }
  return had.quiet / (had.quiet + had.flood);
};

const fair = { of: 0.5, within: 0.05 };

test.each<[string, { quiet?: Partial<Habit>; flood?: Partial<Habit> }]>([
  ['nobody does anything of the kind', {}],
  ['the other asks for much more than it takes', { quiet: { tokensMax: 2_000 } }],
  ['its clients hang up in the midst', { quiet: { leavesAt: 0.5 } }],
  ['its clients hang up, and ask for much more', { quiet: { leavesAt: 0.5, tokensMax: 2_000 } }],
  [
    'nobody says how much, and its clients hang up',
    {
      quiet: { leavesAt: 0.5, tokensMax: 512 },
      flood: { tokensMax: 512 },
    },
  ],
  ['the flood hangs up just before its answers end', { flood: { leavesAt: 0.95 } }],
  ['the flood hangs up in the midst', { flood: { leavesAt: 0.5 } }],
  [
    'the flood asks for whole answers, and hangs up before they end',
    {
      flood: { isStream: false, leavesAt: 0.9 },
      quiet: { isStream: false },
    },
  ],
])('a tenant keeps its share beside a flood where %s', (_, { quiet, flood: flooding }) => {
  const share = shareOf({ quiet: { ...usual, ...quiet }, flood: { ...flood, ...flooding } });
  expect(Math.abs(share - fair.of), String(share)).toBeLessThan(fair.within);
});

test('and where answers are long, and hung up on before they end', () => {
  const whole = { tokensMax: 512, isStream: false } as const;
  const habits = { quiet: { ...usual, ...whole }, flood: { ...flood, ...whole, leavesAt: 0.9 } };
  const share = shareOf(habits, { answerTokens: 600, lastsMs: 600_000 });
  expect(Math.abs(share - fair.of), String(share)).toBeLessThan(fair.within);
});
