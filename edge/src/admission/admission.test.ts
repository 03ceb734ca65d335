import { unservedMsMax } from '@cognitora/protocol/limits';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import type { Reservation } from '../directory/load.ts';
import { Admission, type Ask, type Room, type Ticket } from './admission.ts';

/** Admission before so many seats, which requests take until they are ended. */
const gated = (seats: number) => {
  const state = { seats, nowMs: 0, isServed: true };
  const live: Reservation[] = [];
  const log: string[] = [];
  let next = 1;
  const admission = new Admission({
    roomOf: (): Room => {
      if (!state.isServed) return 'none';
      return live.length < state.seats ? 'room' : 'full';
    },
  });
  const book = (ask: Ask): void => {
    const reservation = next as Reservation;
    next += 1;
    live.push(reservation);
    admission.booked(reservation, ask);
  };
  const enter = (name: string, more: Partial<Ask> = {}): Ticket | undefined => {
    const kind = { tenant: 'a', priority: 5, tokens: 100, answerTokens: 50, isRetry: false };
    const about = { ...kind, awaitsNodes: true, remainingMs: 3_600_000 };
    const ask: Ask = { model: 'm', ...about, ...more };
    const ends = {
      granted: (waitedMs: number): void => {
        log.push(`${name} after ${waitedMs}`);
        if (state.isServed) book(ask);
      },
      refused: ({
        code,
        retryAfterSeconds,
      }: {
        code: string;
        retryAfterSeconds: number | undefined;
      }): void => {
        log.push(`${name} ${code}${retryAfterSeconds === undefined ? '' : ` ${retryAfterSeconds}`}`);
      },
    };
    const ticket = admission.enter(ask, ends, state.nowMs);
    if (ticket === undefined) book(ask);
    return ticket;
  };
  const end = (): void => {
    const reservation = live.shift();
    if (reservation !== undefined) admission.over(reservation, state.nowMs);
    admission.grant(state.nowMs);
  };
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 250) {
      state.nowMs += Math.min(250, left);
      admission.look(state.nowMs);
    }
  };
  return { admission, enter, end, pass, state, log, live };
};

const viewOf = (admission: Admission) => admission.view.models.find(({ model }) => model === 'm');

test('who finds a seat goes at once, the others in order as seats become free', () => {
  const { enter, end, pass, log, admission } = gated(2);
  expect([enter('1'), enter('2')]).toEqual([undefined, undefined]);
  enter('3');
  enter('4', { priority: 7 });
  pass(500);
  end();
  end();
  expect(log).toEqual(['4 after 500', '3 after 500']);
  expect(viewOf(admission)).toMatchObject({ waiting: 0, live: 2, granted: 4 });
});

test('nobody overtakes those who wait, though a seat is free', () => {
  const { enter, state, log } = gated(0);
  enter('1');
  state.seats = 1;
  expect(enter('2')).toBeDefined();
  expect(log).toEqual(['1 after 0']);
});

test('where nobody serves the model, it is decided at once, which tells why', () => {
  const { enter, state } = gated(1);
  state.isServed = false;
  expect(enter('1')).toBeUndefined();
});

test('a full queue refuses: the model’s own when all are of one tenant', () => {
  const { admission, enter } = gated(0);
  admission.useModel('m', { queueMax: 2 });
  enter('1');
  enter('2');
  const refused = errorOf(() => enter('3'));
  expect([refused?.code, refused?.retryAfterSeconds]).toEqual(['overloaded', 5]);
});

test('a full queue makes place for a tenant below its share, and refuses one above it', () => {
  const { admission, enter, log } = gated(0);
  admission.useModel('m', { queueMax: 4 });
  for (const name of ['1', '2', '3', '4']) enter(name);
  enter('small', { tenant: 'b' });
  expect(log).toEqual(['4 tenant_limit 5']);
  expect(errorOf(() => enter('5'))?.code).toBe('tenant_limit');
  expect(viewOf(admission)).toMatchObject({ waiting: 4, refused: { tenant_share: 2 } });
});

test('a tenant has no more at once than it may, those that wait included; a retry is no more', () => {
  const { admission, enter } = gated(1);
  admission.useTenant('a', { concurrency: 2 });
  enter('1');
  enter('2');
  expect(errorOf(() => enter('3'))?.code).toBe('tenant_limit');
  expect(errorOf(() => enter('3', { model: 'other' }))?.code).toBe('tenant_limit');
  expect(enter('3', { tenant: 'b' })).toBeDefined();
  expect(enter('again', { isRetry: true })).toBeDefined();
});

test('a model has no more at once than it may, whatever the seats', () => {
  const { admission, enter, end, log } = gated(10);
  admission.useModel('m', { concurrency: 1 });
  enter('1');
  expect(enter('2')).toBeDefined();
  end();
  expect(log).toEqual(['2 after 0']);
});

test('who waited for as long as one may is refused, and who is past its own deadline is told so', () => {
  const { admission, enter, pass, log } = gated(0);
  admission.useModel('m', { queueMsMax: 1_000 });
  enter('1');
  enter('2', { remainingMs: 400 });
  pass(500);
  expect(log).toEqual(['2 total_timeout']);
  pass(500);
  expect(log).toEqual(['2 total_timeout', '1 overloaded 5']);
});

test('who would wait for longer than the objective, at the pace of late, is refused at once', () => {
  const { admission, enter, end, pass, log } = gated(1);
  for (let request = 0; request < 6; request += 1) enter(String(request));
  for (let grant = 0; grant < 4; grant += 1) {
    pass(1_000);
    end();
  }
  expect(log.length).toBe(4);
  // About one a second, and one waits.
  admission.useModel('m', { firstTokenMs: 3_500 });
  enter('third');
  enter('fourth');
  const refused = errorOf(() => enter('fifth'));
  expect([refused?.code, refused?.retryAfterSeconds]).toEqual(['overloaded', 4]);
  expect(enter('small', { tenant: 'b' })).toBeDefined();
});

/** A model whose requests were let in one a minute of late, with nobody left who waits. */
const slowly = () => {
  const gate = gated(1);
  gate.admission.useModel('m', { queueMsMax: 30_000 });
  for (let request = 0; request < 20; request += 1) gate.enter(String(request));
  gate.pass(25_000);
  for (let request = 0; request < 5; request += 1) gate.end();
  gate.pass(5_000);
  expect(viewOf(gate.admission)).toMatchObject({ waiting: 0, live: 1 });
  return gate;
};

test('whoever would wait for nobody is never too late: or a slow hour would refuse all that come behind it', () => {
  const { enter, admission, end, log } = slowly();
  admission.useModel('m', { queueMsMax: 1_000 });
  expect(viewOf(admission)?.paceMs).toBeGreaterThan(1_000);
  expect(enter('alone')).toBeDefined();
  expect(errorOf(() => enter('second'))?.code).toBe('overloaded');
  end();
  expect(log.at(-1)).toBe('alone after 0');
});

test('a pace is forgotten once nobody has waited for long', () => {
  const { enter, admission, state } = slowly();
  admission.useModel('m', { queueMsMax: 1_000 });
  // Nobody looks meanwhile.
  state.nowMs += 3_600_000;
  enter('first');
  expect(viewOf(admission)?.paceMs).toBeUndefined();
  expect(enter('second')).toBeDefined();
});

test('a full queue takes retries, and sends none away for a newcomer', () => {
  const { admission, enter, log } = gated(0);
  admission.useModel('m', { queueMax: 2 });
  enter('1');
  enter('2');
  expect(enter('again', { isRetry: true, priority: 0 })).toBeDefined();
  enter('small', { tenant: 'b' });
  expect(log).toEqual(['2 tenant_limit 5']);
  expect(enter('once more', { isRetry: true })).toBeDefined();
  enter('smaller', { tenant: 'c' });
  expect(log.slice(1)).toEqual(['1 tenant_limit 5']);
  expect(errorOf(() => enter('late', { tenant: 'd' }))?.code).toBe('overloaded');
});

test('who has nothing waiting is over no share: a full queue of as many tenants as places is the model’s', () => {
  const { admission, enter } = gated(0);
  admission.useModel('m', { queueMax: 4 });
  for (const tenant of ['a', 'b', 'c', 'd']) enter(tenant, { tenant });
  expect(errorOf(() => enter('e', { tenant: 'e' }))?.code).toBe('overloaded');
  expect(errorOf(() => enter('a', { tenant: 'a' }))?.code).toBe('tenant_limit');
});

test('a client that leaves frees its place, and leaving twice or late means nothing', () => {
  const { admission, enter, end, log } = gated(1);
  enter('1');
  const leaves = enter('2') as Ticket;
  const stays = enter('3') as Ticket;
  admission.leave(leaves);
  admission.leave(leaves);
  end();
  admission.leave(stays);
  expect(log).toEqual(['3 after 0']);
  expect(viewOf(admission)).toMatchObject({ waiting: 0, live: 1, refused: { client_gone: 1 } });
});

test('those who wait stay for a node that reconnects, and are told when it does not', () => {
  const { enter, pass, state, log } = gated(0);
  enter('1');
  state.isServed = false;
  pass(unservedMsMax - 250);
  state.isServed = true;
  pass(250);
  state.isServed = false;
  pass(unservedMsMax);
  expect(log).toEqual([]);
  pass(250);
  // Let in to be told by the decision.
  expect(log).toEqual([`1 after ${2 * unservedMsMax + 250}`]);
});

test('who comes while the node is away waits like the others, a retry does not, nor who comes late', () => {
  const state: { room: Room } = { room: 'away' };
  const admission = new Admission({ roomOf: () => state.room });
  const ended: string[] = [];
  const enter = (name: string, nowMs: number, isRetry = false, awaitsNodes = true): Ticket | undefined => {
    const kind = { tenant: 'a', priority: 5, tokens: 100, answerTokens: 0, isRetry, remainingMs: 60_000 };
    const ends = { granted: () => void ended.push(name), refused: () => void ended.push(`${name} refused`) };
    return admission.enter({ model: 'm', ...kind, awaitsNodes }, ends, nowMs);
  };
  expect(enter('1', 0)).toBeDefined();
  expect(enter('retry', 0, true)).toBeUndefined();
  expect(enter('also elsewhere', 0, false, false)).toBeUndefined();
  admission.look(250);
  expect(ended).toEqual([]);
  state.room = 'room';
  admission.grant(300);
  expect(ended).toEqual(['1']);
  state.room = 'away';
  expect(enter('2', 10_000)).toBeDefined();
  for (let nowMs = 10_250; nowMs <= 10_000 + unservedMsMax; nowMs += 250) admission.look(nowMs);
  // Let in to be told by the decision.
  expect(ended).toEqual(['1', '2']);
  expect(enter('3', 10_000 + unservedMsMax)).toBeUndefined();
  // It is back, and away again: that is another time.
  state.room = 'room';
  expect(enter('4', 20_000)).toBeUndefined();
  state.room = 'away';
  expect(enter('5', 20_000)).toBeDefined();
});

test('an answer that ended without a count is charged by its bytes, as its model’s answers are known', () => {
  const { admission, enter, live, state, log } = gated(1);
  enter('0', { tenant: 'b' });
  admission.firstByte(live[0] as Reservation, 0);
  // So a token takes 50 bytes.
  admission.over(live.shift() as Reservation, state.nowMs, {
    promptTokens: 10,
    completionTokens: 90,
    bodyBytes: 4_500,
  });
  enter('1');
  enter('2');
  enter('3', { tenant: 'b' });
  enter('4', { tenant: 'b' });
  admission.firstByte(live[0] as Reservation, state.nowMs);
  admission.over(live.shift() as Reservation, state.nowMs, { bodyBytes: 100_000 });
  for (let turn = 0; turn < 3; turn += 1) {
    admission.grant(state.nowMs);
    admission.over(live.shift() as Reservation, state.nowMs);
  }
  expect(log.slice(0, 2)).toEqual(['3 after 0', '4 after 0']);
});

test('who has as many as its tenant may is told when the first of those is likely to end', () => {
  const { admission, enter, state, live } = gated(9);
  admission.useTenant('a', { concurrency: 1 });
  enter('1');
  expect(errorOf(() => enter('2'))).toMatchObject({ code: 'tenant_limit', retryAfterSeconds: 5 });
  for (let answer = 0; answer < 40; answer += 1) {
    state.nowMs += 20_000;
    admission.over(live.shift() as Reservation, state.nowMs);
    enter('next');
  }
  state.nowMs += 4_000;
  expect(errorOf(() => enter('2'))).toMatchObject({ code: 'tenant_limit', retryAfterSeconds: 17 });
  // It takes longer than they do: nobody knows how long.
  state.nowMs += 60_000;
  expect(errorOf(() => enter('2'))).toMatchObject({ retryAfterSeconds: 21 });
});

test('models that share their replicas take turns', () => {
  const { enter, end, log } = gated(1);
  enter('0');
  for (const at of [1, 2, 3]) enter(`a${at}`);
  for (const at of [1, 2]) enter(`b${at}`, { model: 'n' });
  for (let turn = 0; turn < 5; turn += 1) end();
  expect(log.map((line) => line.slice(0, 2))).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
});

test('a retry waits for a replica that it did not try, and holds up nobody', () => {
  const { enter, end, log } = gated(1);
  enter('0');
  const state: { room: Room } = { room: 'full' };
  enter('again', { isRetry: true, room: () => state.room });
  enter('1');
  enter('2');
  end();
  state.room = 'room';
  end();
  end();
  expect(log).toEqual(['1 after 0', 'again after 0', '2 after 0']);
});

test('a clock that jumps makes nobody wait for longer, and nobody late', () => {
  const { enter, pass, state, log, admission } = gated(0);
  enter('1');
  pass(20_000);
  state.nowMs -= 3_600_000;
  admission.look(state.nowMs);
  state.nowMs += 7_200_000;
  admission.look(state.nowMs);
  expect(log).toEqual([]);
  pass(5_000);
  expect(log).toEqual(['1 overloaded 5']);
});

test('first tokens that come late are part of what is predicted', () => {
  const { admission, enter, pass, end, log, live, state } = gated(1);
  admission.useModel('m', { firstTokenMs: 4_500 });
  enter('0');
  pass(1_000);
  admission.firstByte(live[0] as Reservation, state.nowMs);
  enter('1');
  pass(2_000);
  // Two seconds waited, and first tokens take up to two: still in time, but no longer.
  expect(log).toEqual([]);
  pass(250);
  expect(log).toEqual(['1 overloaded 5']);
  end();
});

test('who is found too late when its turn comes costs its tenant nothing', () => {
  const { admission, enter, end, pass, log, state } = gated(1);
  enter('0', { tenant: 'c' });
  for (const at of [1, 2, 3, 4]) enter(`a${at}`, { remainingMs: at < 3 ? 100 : 60_000 });
  state.nowMs += 200;
  for (const at of [1, 2, 3]) enter(`b${at}`, { tenant: 'b' });
  for (let turn = 0; turn < 5; turn += 1) end();
  pass(0);
  const granted = log.filter((line) => line.includes('after')).map((line) => line.slice(0, 2));
  expect(granted.slice(0, 4).sort()).toEqual(['a3', 'a4', 'b1', 'b2']);
  expect(viewOf(admission)).toMatchObject({ waiting: 0, refused: { deadline: 2 } });
});
