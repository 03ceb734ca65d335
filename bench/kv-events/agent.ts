/**
 * A process in the agent's place, out of the agent's own parts: an engine, the truth of its cache over real sockets,
 * and a link to an edge. It serves nothing; prompts are shown to it as if they had been served.
 */

import { Engine } from '@cognitora/node-agent/engines/engine';
import { LinkSocket } from '@cognitora/node-agent/link/socket';
import { KvTruth } from '@cognitora/node-agent/truth/kv-truth';
import { utf8 } from '@cognitora/protocol/bytes';
import type { ReplicaName, RequestId } from '@cognitora/protocol/ids';
import { type OpenRequest, versionMax, versionMin } from '@cognitora/protocol/link';
import { delayMs, monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { bodyOf, marked } from './prompts.ts';

export interface Ends {
  readonly engine: string;
  readonly events: string;
  readonly edge: string;
}

export type AgentCommand = ({ readonly do: 'start' } & Ends) | { readonly do: 'show' };

const name = 'r0' as ReplicaName;
const clock = { wallMs: () => Date.now(), monotonicMs: () => monotonicUs() / 1_000 };
const log = (): void => {};

const openOf = (bodyBytes: number): OpenRequest => ({
  requestId: 'bench' as RequestId,
  replica: name,
  path: '/v1/chat/completions',
  model: 'm',
  stream: true,
  headers: [],
  bodyBytes,
  spans: { model: [0, 1] },
  remainingMs: 60_000,
});

const show = async (truth: KvTruth): Promise<void> => {
  for (let prompt = 0; prompt < marked; prompt += 1) {
    const bytes = utf8(JSON.stringify(bodyOf(prompt)));
    const watch = truth.watch(openOf(bytes.length));
    watch?.body(bytes, true);
    watch?.head(200);
    watch?.data(utf8('{'));
    watch?.ended(true, undefined);
    // One at a time: of many that wait the oldest are forgotten.
    await delayMs(30);
  }
};

const start = async ({ engine: url, events, edge }: Ends): Promise<KvTruth> => {
  const engine: Engine = new Engine({
    ...{ name, url: new URL(url), apiKey: undefined, aliases: new Map(), log },
    onChange: () => truth.changed(engine),
  });
  const truth: KvTruth = new KvTruth({
    ...{ clock, log, readReply: () => undefined, engines: new Map([[name, engine]]) },
    events: new Map([[name, { kind: 'zmq', endpoints: { events, replay: undefined } }]]),
    tokenizers: new Map(),
  });
  engine.start();
  while (engine.report.state !== 'ready') await delayMs(20);
  const link: LinkSocket = new LinkSocket({
    ...{ url: edge, authorization: 'bench', clock },
    hello: {
      ...{ versionMin, versionMax, agent: 'bench/1', name: 'bench', replicas: [engine.report] },
      ...{ streamWindowBytes: 65_536, linkWindowBytes: 1_048_576 },
    },
    serve: () => {
      throw new Error('this agent serves nothing');
    },
    resume: () => undefined,
    onKvWanted: (want) => truth.wanted(link, want),
    onKvFabric: () => {},
    onKvHolders: () => {},
    onIdle: () => truth.idle(link),
    onWelcome: (welcome) => truth.linked(link, welcome.prefix),
    onGoaway: ({ message }) => {
      throw new Error(message);
    },
    onClose: () => {},
  });
  while (truth.cachesOf(name)[0]?.trust !== 'exact') await delayMs(20);
  return truth;
};

let started: KvTruth | undefined;
serveCommands<AgentCommand, true>(async (command) => {
  if (command.do === 'start') started = await start(command);
  else if (started !== undefined) await show(started);
  return true;
});
