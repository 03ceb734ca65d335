import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { clientsHungUp, quietClients } from '../link/client-watch.ts';
import { Admission, type Ask, type Room } from './admission.ts';
import { WaitingRoom } from './waiting-room.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const waitingRoom = () => {
  const state: { room: Room } = { room: 'full' };
  const admission = new Admission({ roomOf: () => state.room });
  const room = new WaitingRoom(admission, Date.now);
  const ask: Ask = {
    ...{ model: 'm', tenant: 'a', priority: 5, tokens: 1, answerTokens: 0 },
    ...{ isRetry: false, awaitsNodes: true, remainingMs: 60_000 },
  };
  const enter = (
    signal?: AbortSignal,
    address?: string,
    decide = (waitedMs: number) => `after ${waitedMs}`,
  ) => room.enter(ask, { signal, address }, decide).catch((thrown) => thrown.code ?? thrown.message);
  return { state, admission, room, enter };
};

test('it decides in the turn in which there is room, and tells how long that took', async () => {
  const { state, room, enter } = waitingRoom();
  const waits = enter();
  vi.advanceTimersByTime(600);
  state.room = 'room';
  room.grant();
  expect(await waits).toBe('after 600');
  expect(await enter()).toBe('after 0');
});

test('its own timer sees that there is room, that it waited for too long, and ends with the last', async () => {
  const { admission, state, enter } = waitingRoom();
  const waits = enter();
  vi.advanceTimersByTime(100);
  state.room = 'room';
  vi.advanceTimersByTime(200);
  expect(await waits).toBe('after 250');
  state.room = 'full';
  admission.useModel('m', { queueMsMax: 500 });
  const late = enter();
  vi.advanceTimersByTime(500);
  expect(await late).toBe('overloaded');
  expect(vi.getTimerCount()).toBe(0);
});

test('a client that leaves, in either way, waits no longer, and nobody watches over it any more', async () => {
  const { admission, enter } = waitingRoom();
  const controller = new AbortController();
  const [aborts, hangsUp] = [enter(controller.signal), enter(undefined, 'address:1')];
  vi.advanceTimersByTime(300);
  expect(quietClients(Date.now())).toBe(1);
  controller.abort();
  clientsHungUp(['address:1']);
  expect(await Promise.all([aborts, hangsUp])).toEqual(['client_gone', 'client_gone']);
  expect([admission.isAnyWaiting, quietClients(Date.now())]).toEqual([false, 0]);
  expect(await enter(controller.signal)).toBe('client_gone');
});

test('what the decision throws is what the request gets', async () => {
  const { state, room, enter } = waitingRoom();
  const fails = (): never => {
    throw new Error('nobody');
  };
  const waits = enter(undefined, 'address:2', fails);
  state.room = 'room';
  room.grant();
  expect([await waits, await enter(undefined, undefined, fails)]).toEqual(['nobody', 'nobody']);
  expect(quietClients(Date.now() + 10_000)).toBe(0);
});
