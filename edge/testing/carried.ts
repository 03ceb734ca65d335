/** A carried response with everything it says written down, and a reader of what it gives. Only tests import it. */
import { ackMsMax } from '@cognitora/protocol/limits';
import type { HeaderList } from '@cognitora/protocol/link';
import { WireReader } from '../src/continuity/wire.ts';
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
    ackMsMax,
    onConsumed: (bytes) => {
      consumedBytes += bytes;
    },
    onCancel: (reason) => told.push(`cancel ${reason}`),
    onFirstByte: () => {},
    onOver: ({ record }) => told.push(record === undefined ? 'over' : `over ${record.bodyBytes}`),
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

/** A framed body to its end: its text, and behind it ` !code message` of a failure, or ` !cut` where it broke off. */
export const readAll = async (body: ReadableStream<Uint8Array> | null): Promise<string> => {
  const decoder = new TextDecoder();
  let all = '';
  let isEnded = false;
  const over = (how: string): void => {
    isEnded = true;
    all += how;
  };
  const say = (bytes: Uint8Array): void => {
    all += isEnded ? ' !after its end' : decoder.decode(bytes, { stream: true });
  };
  const wire = new WireReader({
    ...{ data: say, ours: say, end: () => over('') },
    fail: ({ code, message }) => over(` !${code} ${message}`),
  });
  const reader = body?.getReader();
  try {
    for (let read = await reader?.read(); read !== undefined && !read.done; read = await reader?.read()) {
      wire.push(read.value);
    }
  } catch {
    return `${all} !cut`;
  }
  return isEnded ? all : `${all} !cut`;
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
