/**
 * A process in an engine's place: shows its prompts and tokens over HTTP, and publishes events over ZeroMQ at a given
 * rate. Most are of prompts that nobody asked for; now and then a prompt that the agent served goes, or comes back, and
 * when that was said is written down.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Packr } from 'msgpackr';
import { Publisher } from 'zeromq';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { blockTokens, bodyOf, marked, Pieces, rendered } from './prompts.ts';

export type EngineCommand =
  | { readonly do: 'start' }
  | { readonly do: 'store' }
  | { readonly do: 'play'; readonly seconds: number; readonly eventsPerSecond: number };

/** A prompt that went (`isHeld` false) or came back, and when that was published. */
export interface Mark {
  readonly prompt: number;
  readonly isHeld: boolean;
  readonly us: number;
}

export interface EngineAnswer {
  readonly url: string;
  readonly events: string;
  readonly marks: readonly Mark[];
  readonly published: number;
  readonly seconds: number;
}

const packr = new Packr({ useRecords: false });
const pieces = new Pieces();
const publisher = new Publisher({ linger: 0, sendHighWaterMark: 100_000 });
const stepMs = 5;
const stepsPerMark = 4;
let sequence = 0;

const publish = async (events: readonly object[]): Promise<void> => {
  const frame = Buffer.alloc(8);
  frame.writeBigInt64BE(BigInt(sequence));
  sequence += 1;
  await publisher.send(['kv-events', frame, packr.pack([1.5, events, 0])]);
};

const textOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

interface Asked {
  readonly messages?: Parameters<typeof rendered>[0];
  readonly content?: string;
}

const answers: Readonly<Record<string, (asked: Asked) => object>> = {
  '/v1/models': () => ({ data: [{ id: 'm' }] }),
  '/apply-template': ({ messages = [] }) => ({ prompt: rendered(messages) }),
  '/tokenize': ({ content = '' }) => ({ tokens: pieces.of(content) }),
};

const start = async (): Promise<string> => {
  const server = createServer(async (request, response) => {
    const text = await textOf(request);
    const answer = answers[request.url ?? ''];
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer?.(text === '' ? {} : (JSON.parse(text) as Asked)) ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await publisher.bind('tcp://127.0.0.1:*');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const nameOf = (prompt: number, block: number): bigint => BigInt(prompt * 1_000 + block) * 0x1_0000_0001n;

const storedOf = (prompt: number): object => {
  const tokens = pieces.of(rendered(bodyOf(prompt).messages)).map(({ id }) => id);
  const count = Math.floor(tokens.length / blockTokens);
  return {
    type: 'BlockStored',
    block_hashes: Array.from({ length: count }, (_, block) => nameOf(prompt, block)),
    ...{ parent_block_hash: null, token_ids: tokens.slice(0, count * blockTokens), block_size: blockTokens },
    ...{ lora_id: null, medium: 'GPU', lora_name: null, group_idx: 0 },
  };
};

const removedOf = (prompt: number): readonly object[] => {
  const { block_hashes } = storedOf(prompt) as { readonly block_hashes: readonly bigint[] };
  return block_hashes.map((name) => ({
    type: 'BlockRemoved',
    block_hashes: [name],
    medium: 'GPU',
    group_idx: 0,
  }));
};

let others = 0;
/** Of prompts that nobody asked for: a block comes and the one of a while ago goes. */
const otherEvents = (count: number): readonly object[] => {
  const events: object[] = [];
  while (events.length < count) {
    others += 1;
    events.push({
      ...{ type: 'BlockStored', block_hashes: [BigInt(others) << 32n], parent_block_hash: null },
      token_ids: Array.from({ length: blockTokens }, (_, at) => others * blockTokens + at),
      ...{ block_size: blockTokens, lora_id: null, medium: 'GPU', lora_name: null, group_idx: 0 },
    });
    const gone = [BigInt(others - 50_000) << 32n];
    if (others > 50_000)
      events.push({ type: 'BlockRemoved', block_hashes: gone, medium: 'GPU', group_idx: 0 });
  }
  return events;
};

const play = async (
  seconds: number,
  eventsPerSecond: number,
): Promise<Omit<EngineAnswer, 'url' | 'events'>> => {
  const marks: Mark[] = [];
  const startedUs = monotonicUs();
  let published = 0;
  for (let step = 0; step * stepMs < seconds * 1_000; step += 1) {
    const waitMs = step * stepMs - (monotonicUs() - startedUs) / 1_000;
    if (waitMs > 0) await delayMs(waitMs);
    const turn = Math.floor(step / stepsPerMark);
    const prompt = turn % marked;
    const isMarked = step % stepsPerMark === 0;
    const isHeld = Math.floor(turn / marked) % 2 === 1;
    const own = !isMarked ? [] : isHeld ? [storedOf(prompt)] : removedOf(prompt);
    const due = Math.round(((step + 1) * stepMs * eventsPerSecond) / 1_000) - published;
    const events = [...own, ...otherEvents(Math.max(0, due - own.length))];
    published += events.length;
    if (isMarked) marks.push({ prompt, isHeld, us: monotonicUs() });
    await publish(events);
  }
  return { marks, published, seconds: (monotonicUs() - startedUs) / 1e6 };
};

let url = '';
serveCommands<EngineCommand, EngineAnswer>(async (command) => {
  const nothing = { marks: [], published: 0, seconds: 0 };
  if (command.do === 'start') url = await start();
  if (command.do === 'store') {
    await publish(Array.from({ length: marked }, (_, prompt) => storedOf(prompt)));
  }
  const played = command.do === 'play' ? await play(command.seconds, command.eventsPerSecond) : nothing;
  return { url, events: publisher.lastEndpoint ?? '', ...played };
});
