/** Requests at a rate, or so many at a time, over keep-alive HTTP: when each was sent, answered, begun and over. */
import { Agent, request } from 'node:http';
import { delayMs, monotonicUs } from '../machine/clock.ts';

export interface Target {
  readonly port: number;
  readonly model: string;
  /** Events of an answer. */
  readonly events: number;
}

export interface Client {
  readonly tenant: string;
  readonly apiKey: string;
}

/** What became of one request. */
export interface Outcome {
  readonly tenant: string;
  readonly sentMs: number;
  readonly status: number;
  /** Of a failure of the edge. */
  readonly code: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  /** From sending it to the first event; undefined when none came. */
  readonly firstEventMs: number | undefined;
  readonly events: number;
  readonly isWhole: boolean;
  readonly endedMs: number;
}

const nowMs = (): number => monotonicUs() / 1e3;
const event = Buffer.from('data: {"id"');
const done = Buffer.from('data: [DONE]');

const countIn = (bytes: Buffer, sought: Buffer): number => {
  let count = 0;
  for (let at = bytes.indexOf(sought); at >= 0; at = bytes.indexOf(sought, at + sought.length)) count += 1;
  return count;
};

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

export const ask = ({ port, model, events }: Target, { tenant, apiKey }: Client): Promise<Outcome> =>
  new Promise((resolve) => {
    const sentMs = nowMs();
    const body = JSON.stringify({
      ...{ model, stream: true, max_tokens: events },
      messages: [{ role: 'user', content: `Question ${sentMs}.` }],
    });
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
    const options = { port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', agent, headers };
    const nothing = { tenant, sentMs, retryAfterSeconds: undefined, firstEventMs: undefined, events: 0 };
    const outgoing = request(options, (incoming) => {
      let firstEventMs: number | undefined;
      let [seen, isWhole] = [0, false];
      incoming.on('data', (bytes: Buffer) => {
        const count = countIn(bytes, event);
        if (count > 0) firstEventMs ??= nowMs() - sentMs;
        seen += count;
        isWhole ||= bytes.includes(done);
      });
      const over = (): void => {
        const told = incoming.headers['retry-after'];
        const code = incoming.headers['x-cognitora-code'];
        resolve({
          ...{ tenant, sentMs, status: incoming.statusCode ?? 0, code: code?.toString(), firstEventMs },
          // The last one is the usage.
          ...{ events: Math.max(0, seen - 1), isWhole, endedMs: nowMs() },
          retryAfterSeconds: told === undefined ? undefined : Number(told),
        });
      };
      incoming.once('close', over);
    });
    outgoing.once('error', () => {
      resolve({ ...nothing, status: 0, code: 'connection', isWhole: false, endedMs: nowMs() });
    });
    outgoing.end(body);
  });

/** So many at a time, for so long; then until all are over. */
export const closedLoop = async (
  target: Target,
  client: Client,
  { atOnce, seconds }: { readonly atOnce: number; readonly seconds: number },
): Promise<Outcome[]> => {
  const outcomes: Outcome[] = [];
  const endMs = nowMs() + seconds * 1_000;
  const worker = async (): Promise<void> => {
    while (nowMs() < endMs) outcomes.push(await ask(target, client));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return outcomes;
};

/** At a rate of its own, whatever the answers: each sent when it is due, or at once when that is past. */
export const openLoop = async (
  target: Target,
  client: Client,
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
): Promise<Outcome[]> => {
  const answers: Promise<Outcome>[] = [];
  const startMs = nowMs();
  for (let index = 0; index < perSecond * seconds; index += 1) {
    const dueMs = startMs + (index * 1_000) / perSecond;
    const early = dueMs - nowMs();
    if (early > 0) await delayMs(early);
    answers.push(ask(target, client));
  }
  return Promise.all(answers);
};
