import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crashesMax, crashWindowMs, livedMsMin, restartMsMax, restartMsMin, stopMsMax } from './limits.ts';
import {
  advance,
  type Supervision,
  type SupervisionAction,
  type SupervisionEvent,
  unstarted as unstartedFor,
} from './supervision.ts';

const loadingMsMax = 3_600_000;
const unstarted = unstartedFor(loadingMsMax);

/** The events in their order, each so long after the one before. */
const after = (
  events: readonly (readonly [event: SupervisionEvent, waitedMs?: number])[],
  from: Supervision = unstarted,
): { readonly last: Supervision; readonly actions: readonly (SupervisionAction | undefined)[] } => {
  let nowMs = 0;
  let last = from;
  const actions: (SupervisionAction | undefined)[] = [];
  for (const [event, waitedMs = 0] of events) {
    nowMs += waitedMs;
    const { next, action } = advance(last, event, nowMs);
    last = next;
    actions.push(action);
  }
  return { last, actions };
};

const up = [['asked'], ['spawned'], ['healthy']] as const;

describe('an engine', () => {
  test('is started, loads, and is ready when its URL shows so', () => {
    const { last, actions } = after(up);
    expect([last.state, last.restarts, actions]).toEqual(['ready', 0, ['spawn', undefined, undefined]]);
    expect(after([...up, ['unhealthy']]).last.state).toBe('loading');
    expect(after([...up, ['unhealthy'], ['healthy']]).last.state).toBe('ready');
  });

  test('that falls again and again is started again, each time after twice as long, up to a minute', () => {
    let last = after([['asked']]).last;
    const delays: number[] = [];
    let nowMs = 0;
    for (let fall = 0; fall < 8; fall += 1) {
      last = advance(last, 'spawned', nowMs).next;
      nowMs += livedMsMin;
      last = advance(last, 'ended', nowMs).next;
      delays.push((last.dueMs ?? 0) - nowMs);
      nowMs = last.dueMs ?? 0;
      const early = advance(last, 'tick', nowMs - 1);
      expect([early.next.state, early.action]).toEqual(['backing-off', undefined]);
      last = advance(last, 'tick', nowMs).next;
      expect(last.state).toBe('starting');
    }
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1_000));
  });

  test('that was well comes back after a second, however often it fell before', () => {
    const fall = [['spawned'], ['ended'], ['tick', restartMsMax]] as const;
    const { last, actions } = after([
      ['asked'],
      ...fall,
      ...fall,
      ['spawned'],
      ['ended', crashWindowMs],
      ['tick', restartMsMin],
    ]);
    expect([last.state, last.crashedMs, actions.at(-1)]).toEqual(['starting', [], 'spawn']);
  });

  test('that lives a minute between its crashes is not given up', () => {
    const crash = [['spawned'], ['ended'], ['tick', 20_000]] as const;
    const lived = [['spawned'], ['ended', livedMsMin], ['tick', 20_000]] as const;
    const { last } = after([['asked'], ...crash, ...crash, ...crash, ...crash, ...lived, ...crash]);
    expect([last.state, last.crashedMs.length]).toEqual(['backing-off', 1]);
  });

  test('that ends five times without having lived is given up, until somebody asks again', () => {
    const crash = [['spawned'], ['ended'], ['tick', 10_000]] as const;
    const loop = [['asked'], ...crash, ...crash, ...crash, ...crash, ...crash] as const;
    const { last, actions } = after(loop);
    expect([last.state, last.restarts]).toEqual(['gave-up', crashesMax - 1]);
    expect(actions.filter((action) => action === 'spawn')).toHaveLength(crashesMax);
    expect(after([['tick', crashWindowMs * 10]], last).actions).toEqual([undefined]);
    const again = after([['asked'], ['spawned'], ['ended']], last);
    expect([again.actions[0], again.last.state]).toEqual(['spawn', 'backing-off']);
  });

  test('that cannot even be started counts as one that ended', () => {
    expect(after([['asked'], ['ended']]).last).toMatchObject({ state: 'backing-off', falls: 1 });
  });

  test('that hangs is asked to end, killed after its time only, and started again as one that fell', () => {
    const hung = after([...up, ['hung']]);
    expect([hung.last.state, hung.actions.at(-1)]).toEqual(['ending', 'terminate']);
    // It may answer again: it ends all the same, and is asked once.
    expect(after([['healthy'], ['hung'], ['tick', stopMsMax - 1]], hung.last).actions).toEqual(
      Array(3).fill(undefined),
    );
    const killed = after([['tick', stopMsMax], ['tick', stopMsMax], ['ended']], hung.last);
    expect(killed.actions).toEqual(['kill', undefined, undefined]);
    expect([killed.last.state, killed.last.falls]).toEqual(['backing-off', 1]);
    expect(after([['stop'], ['tick', stopMsMax]], hung.last).actions).toEqual([undefined, 'kill']);
    // Those who came to end it all find it ending already.
    const stopped = after([['drain'], ['stop'], ['tick', stopMsMax], ['ended']], hung.last);
    expect([stopped.actions, stopped.last.state]).toEqual([
      [undefined, undefined, 'kill', undefined],
      'stopped',
    ]);
  });

  test('that loads has its time for it, which ends when it is ready for the first time', () => {
    const spawned = [['asked'], ['spawned']] as const;
    expect(after([...spawned, ['tick', loadingMsMax - 1]]).actions.at(-1)).toBeUndefined();
    const late = after([...spawned, ['tick', loadingMsMax]]);
    expect([late.last.state, late.actions.at(-1)]).toEqual(['ending', 'terminate']);
    expect(after([['ended']], late.last).last.state).toBe('backing-off');
    const away = after([...up, ['unhealthy'], ['tick', loadingMsMax]]);
    expect([away.last.state, away.actions.at(-1)]).toEqual(['loading', undefined]);
    const drained = after([...spawned, ['drain'], ['tick', loadingMsMax]]);
    expect([drained.last.state, drained.actions.at(-1)]).toEqual(['draining', undefined]);
  });

  test('that drains is let alone, and stays ended when it ends', () => {
    const drained = after([...up, ['drain'], ['tick', crashWindowMs]]);
    expect([drained.last.state, drained.actions.at(-1)]).toEqual(['draining', undefined]);
    expect(after([['healthy'], ['ended']], drained.last).last.state).toBe('stopped');
  });

  test('that is stopped is asked to end, and killed after its time only', () => {
    const asked = after([...up, ['drain'], ['stop']]);
    expect(asked.actions.at(-1)).toBe('terminate');
    expect(after([['tick', stopMsMax - 1]], asked.last).actions).toEqual([undefined]);
    const killed = after([['tick', stopMsMax], ['tick', stopMsMax], ['ended']], asked.last);
    expect([killed.actions, killed.last.state]).toEqual([['kill', undefined, undefined], 'stopped']);
  });

  test.each(['drain', 'stop'] as const)('without a process is stopped at once by %s', (event) => {
    for (const before of [['asked'], ['asked', 'spawned', 'ended']] as const) {
      const { last, actions } = after([...before.map((each) => [each] as const), [event]]);
      expect([last.state, actions.at(-1)]).toEqual(['stopped', undefined]);
      expect(after([['tick', restartMsMax]], last).actions).toEqual([undefined]);
    }
  });
});

const events: readonly SupervisionEvent[] = [
  'asked',
  'spawned',
  'ended',
  'healthy',
  'unhealthy',
  'hung',
  'drain',
  'stop',
  'tick',
];

test('whatever happens: no second process, no kill before its time, never more starts than the rule allows', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom(...events), fc.integer({ min: 0, max: 90_000 })));
  fc.assert(
    fc.property(steps, (happened) => {
      let state = unstarted;
      let nowMs = 0;
      let hasProcess = false;
      let terminatedMs: number | undefined;
      let spawnsSinceAsked = 0;
      for (const [event, waitedMs] of happened) {
        nowMs += waitedMs;
        // A process is there only after a start, and ends only then.
        if (event === 'spawned' && state.state !== 'starting') continue;
        if (event === 'ended' && !hasProcess && state.state !== 'starting') continue;
        const { next, action } = advance(state, event, nowMs);
        if (event === 'spawned') hasProcess = true;
        if (event === 'ended') hasProcess = false;
        if (action === 'spawn') {
          expect(hasProcess).toBe(false);
          spawnsSinceAsked = event === 'asked' ? 1 : spawnsSinceAsked + 1;
        }
        if (action === 'terminate') {
          expect(hasProcess).toBe(true);
          terminatedMs = nowMs;
        }
        if (action === 'kill') {
          expect(hasProcess).toBe(true);
          expect(nowMs - (terminatedMs ?? nowMs)).toBeGreaterThanOrEqual(stopMsMax);
        }
        expect(next.bornMs !== undefined).toBe(hasProcess);
        expect(next.crashedMs.length).toBeLessThanOrEqual(crashesMax);
        const timed = ['backing-off', 'loading', 'ending', 'draining'];
        if (next.dueMs !== undefined) expect(timed).toContain(next.state);
        if (next.state === 'gave-up') expect(next.dueMs).toBeUndefined();
        state = next;
      }
    }),
  );
});
