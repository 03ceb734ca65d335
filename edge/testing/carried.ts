/** A carried response with everything it says written down, and a reader of what it gives. Only tests import it. */
import type { HeaderList } from '@cognitora/protocol/link';
import { type CarriedOptions, CarriedResponse } from '../src/link/carried-response.ts';

export const carry = (options: Partial<CarriedOptions> = {}) => {
  const told: string[] = [];
  const time = { nowMs: 1_000_000 };
  let consumedBytes = 0;
  const carried = new CarriedResponse({
    clock: () => time.nowMs,
    isStream: true,
    headers: [['x-request-id', 'req-1']],
    remainingMs: 3_600_000,
    onConsumed: (bytes) => {
      consumedBytes += bytes;
    },
    onCancel: (reason) => told.push(`cancel ${reason}`),
    onFirstByte: () => {},
    onOver: (record) => told.push(record === undefined ? 'over' : `over ${record.bodyBytes}`),
    onDone: () => told.push('done'),
    ...options,
  });
  const openedMs = time.nowMs;
  return {
    carried,
    told,
    time,
    consumed: () => consumedBytes,
    /** The sweep at an age of the request. */
    sweepAt: (ageMs: number) => {
      time.nowMs = openedMs + ageMs;
      carried.sweep(time.nowMs);
    },
  };
};

export const sseHead = (status = 200, more: HeaderList = []) => ({
  status,
  headers: [['content-type', 'text/event-stream'], ...more] as HeaderList,
});

export const jsonHead = (status = 200) => ({
  status,
  headers: [['content-type', 'application/json']] as HeaderList,
});

/** A body to its end: its text, and ` !message` behind it where it broke off. */
export const readAll = async (body: ReadableStream<Uint8Array> | null): Promise<string> => {
  if (body === null) return '';
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let all = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return all;
      all += decoder.decode(value, { stream: true });
    }
  } catch (thrown) {
    return `${all} !${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
};

/** Whether a promise has settled once everything that is ready has run. */
export const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  return settled;
};
