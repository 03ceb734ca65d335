/**
 * KV events of an engine that has to be asked for them: one question after the other, at a bounded rate. Numbers of
 * events that are left out, or begin anew, mean that nothing is known any more. Each event is told to one asker only,
 * so nothing is asked until somebody follows.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { jsonValueIn } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import type { Log } from '../../log.ts';
import { EventSlices } from './event-slices.ts';
import type { EventSource, OnEvents } from './event-source.ts';
import { decodePolledEvents } from './polled-events.ts';

/** Between an answer and the next question: a follow-up seldom comes earlier, and questions cost the engine time. */
export const pollMs = 200;
/** After a question that was not answered, at most. */
const pollMsMax = 5_000;

const cleared = [{ type: 'cleared' }] as const;

export interface PollOptions {
  readonly ask: Ask;
  readonly path: string;
  readonly pause: (ms: number) => Promise<void>;
  readonly log: Log;
}

export const pollSource = ({ ask, path, pause, log }: PollOptions): EventSource => {
  /** By rank; the number of the event that comes next. */
  const expected = new Map<number, number>();
  const slices = new EventSlices();
  let isClosed = false;
  /** Engines before this one: what one of them answers says nothing of it. */
  let before = 0;
  /** Whether the engine answered. */
  const poll = async (onEvents: OnEvents): Promise<boolean> => {
    const asked = before;
    const isOver = (): boolean => isClosed || before !== asked;
    const { status, text } = await ask(path, {});
    const events = status === 200 ? decodePolledEvents(jsonValueIn(utf8(text))) : undefined;
    for (const { id, rank, events: told } of events ?? []) {
      if (isOver()) break;
      const next = expected.get(rank);
      if (next !== undefined && id !== next) onEvents(cleared, rank);
      expected.set(rank, id + 1);
      await slices.apply(told, (some) => onEvents(some, rank), isOver);
    }
    return events !== undefined;
  };
  const follow = async (onEvents: OnEvents): Promise<void> => {
    let pauseMs = pollMs;
    while (!isClosed) {
      const isAnswered = await poll(onEvents).catch(() => false);
      if (!isAnswered && pauseMs === pollMs) log('warn', 'the engine tells no KV events', { path });
      pauseMs = isAnswered ? pollMs : Math.min(2 * pauseMs, pollMsMax);
      await pause(pauseMs);
    }
  };
  return {
    isTakenAway: true,
    ranks: 1,
    follow: (onEvents) => void follow(onEvents),
    reset: () => {
      before += 1;
      expected.clear();
    },
    close: () => {
      isClosed = true;
    },
  };
};
