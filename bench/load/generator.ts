/**
 * The load generator's process: keeps connections busy with streamed completions, takes the time of each
 * event and checks every byte against the event script. Raw sockets and no JSON, because it shares the cores
 * with what it measures. Opens its connections anew for each plan.
 */
import { connect, type Socket } from 'node:net';
import { messageOf } from '@cognitora/protocol/errors';
import { monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { bodyBytesOf, eventBytes, firstDifference, tagOf, writtenUs } from './event-script.ts';
import type { LoadPlan, LoadResult } from './generator-messages.ts';
import { ResponseReader } from './response-reader.ts';
import { StreamTiming } from './stream-timing.ts';

/** Failures told in full; the rest only count. */
const failuresToldMax = 20;

class Tally {
  readonly ttftMs: number[] = [];
  readonly totalMs: number[] = [];
  readonly chunkDelayMs: number[] = [];
  readonly gapMs: number[] = [];
  readonly arrivalsUs: number[] = [];
  readonly failures: string[] = [];
  requests = 0;
  firstEndUs: number | undefined;
  eventsReceived = 0;

  add(timing: StreamTiming, body: Buffer, keepArrivals: boolean): void {
    const { arrivalsUs, startedUs, firstDataUs, endedUs } = timing;
    this.requests += 1;
    this.firstEndUs = Math.min(endedUs, this.firstEndUs ?? endedUs);
    this.eventsReceived += arrivalsUs.length;
    this.ttftMs.push((firstDataUs - startedUs) / 1e3);
    this.totalMs.push((endedUs - startedUs) / 1e3);
    let previousUs = Number.NaN;
    for (const [index, arrivedUs] of arrivalsUs.entries()) {
      if (index > 0) {
        this.chunkDelayMs.push((arrivedUs - writtenUs(body, index * eventBytes)) / 1e3);
        this.gapMs.push((arrivedUs - previousUs) / 1e3);
      }
      previousUs = arrivedUs;
      if (keepArrivals) this.arrivalsUs.push(arrivedUs);
    }
  }
}

interface Job {
  readonly plan: LoadPlan;
  readonly tally: Tally;
  readonly connection: number;
}

let nextTag = 1;

const requestBytes = ({ plan, connection }: Job, tag: string): Buffer => {
  const { target, models, events, intervalMs } = plan;
  const model = models[connection % models.length] ?? 'bench';
  const body =
    `{"model":"${model}","messages":[{"role":"user","content":"Tell me about the sea."}],"stream":true,` +
    `"max_tokens":${events},"user":"${tag}","bench_interval_ms":${intervalMs}}`;
  const headers = Object.entries(target.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const path = target.path.replace('%', model);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: ${target.host}:${target.port}\r\ncontent-type: application/json\r\n` +
      `${headers.join('')}content-length: ${body.length}\r\n\r\n${body}`,
  );
};

/**
 * Runs the requests of one connection, one after the other. Resolves in any case; failures go into the tally.
 */
const runConnection = (job: Job): Promise<void> =>
  new Promise((resolve) => {
    const { plan, tally } = job;
    const { target, events, requests, keepArrivals = false } = plan;
    const socket: Socket = connect({ host: target.host, port: target.port, noDelay: true });
    const body = Buffer.allocUnsafe(bodyBytesOf(events) + 4096);
    const timing = new StreamTiming(eventBytes, events);
    let done = 0;
    let tag = '';
    let status = 0;
    let isOver = false;
    const finish = (failure?: string): void => {
      if (isOver) return;
      isOver = true;
      if (failure !== undefined) tally.failures.push(failure);
      socket.destroy();
      resolve();
    };
    const next = (): void => {
      tag = tagOf(nextTag);
      nextTag += 1;
      const bytes = requestBytes(job, tag);
      timing.start(monotonicUs());
      socket.write(bytes);
    };
    const reader = new ResponseReader({
      head: (code) => {
        status = code;
      },
      body: (bytes) => {
        const at = timing.bodyBytes;
        if (at + bytes.length <= body.length) body.set(bytes, at);
        timing.data(bytes.length, monotonicUs());
      },
      end: () => {
        timing.end(monotonicUs());
        const whole = body.subarray(0, Math.min(timing.bodyBytes, body.length));
        const wrong = status === 200 ? firstDifference(whole, tag, events) : `status ${status}: ${whole}`;
        if (wrong !== undefined) tally.failures.push(wrong);
        else tally.add(timing, whole, keepArrivals);
        done += 1;
        if (done === requests) finish();
        else next();
      },
    });
    socket.on('error', (error) => finish(`socket: ${error.message}`));
    socket.on('close', () => finish('the connection closed early'));
    socket.on('data', (bytes: Buffer) => {
      try {
        reader.push(bytes);
      } catch (thrown) {
        finish(`reader: ${messageOf(thrown)}`);
      }
    });
    const waitMs = (plan.spreadMs * job.connection) / plan.connections;
    socket.once('connect', () => setTimeout(next, waitMs));
  });

const run = async (plan: LoadPlan): Promise<LoadResult> => {
  const tally = new Tally();
  const startedUs = monotonicUs();
  const connections = Array.from({ length: plan.connections }, (_, connection) =>
    runConnection({ plan, tally, connection }),
  );
  await Promise.all(connections);
  const { failures } = tally;
  const untold = failures.length - failuresToldMax;
  return {
    ttftMs: tally.ttftMs,
    totalMs: tally.totalMs,
    chunkDelayMs: tally.chunkDelayMs,
    gapMs: tally.gapMs,
    arrivalsUs: Float64Array.from(tally.arrivalsUs),
    requests: tally.requests,
    firstEndUs: tally.firstEndUs,
    eventsReceived: tally.eventsReceived,
    failures: untold > 0 ? [...failures.slice(0, failuresToldMax), `and ${untold} more`] : failures,
    elapsedMs: (monotonicUs() - startedUs) / 1e3,
  };
};

serveCommands<LoadPlan, LoadResult>(run);
