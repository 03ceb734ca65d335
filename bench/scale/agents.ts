/**
 * A process full of production agents: `HostIdentity`, `Agent`, `LinkSocket`, `Engine`, as the daemon wires
 * them, only many at once. Knows each agent's last WELCOME, and can cut every socket to the edge the way a
 * dead network does not even do: without a word.
 */
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '@cognitora/node-agent/clock';
import { Agent } from '@cognitora/node-agent/daemon';
import type { AttachedEngine, EngineConfig } from '@cognitora/node-agent/engines/engine-config';
import { attachedSource } from '@cognitora/node-agent/engines/source';
import { HostIdentity } from '@cognitora/node-agent/identity';
import type { Log } from '@cognitora/node-agent/log';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import type { AgentsAnswer, AgentsCommand } from './agents-messages.ts';

/** Dials that start at once: enrolling is a signature and a write each, and a herd of them tells nothing. */
const startBatch = 25;
const startBatchMs = 50;

const edgeSockets = new Set<Socket>();
/** By agent: when its link was welcomed; absent while it has none. */
const joinedUs = new Map<number, number>();
const fatal: string[] = [];
let edgePort = 0;

// The documented way to hear of every socket a process opens; the production code needs no hook for it.
subscribe('net.client.socket', (message) => {
  const { socket } = message as { socket: Socket };
  socket.once('connect', () => {
    if (socket.remotePort !== edgePort) return;
    edgeSockets.add(socket);
    socket.once('close', () => edgeSockets.delete(socket));
  });
});

type Start = Extract<AgentsCommand, { kind: 'start' }>;

const startAgent = (options: Start, index: number): void => {
  const model = options.models[index % options.models.length] ?? 'bench';
  const source: AttachedEngine = {
    kind: 'attached',
    url: new URL(`${options.engineUrl}/${model}`),
    kvEvents: undefined,
    gpus: [],
    kvDirectory: undefined,
  };
  const engine: EngineConfig = {
    name: 'r0' as ReplicaName,
    profile: 'openai',
    role: 'both',
    kvOffload: 'none',
    source,
    aliases: new Map(),
    apiKey: undefined,
  };
  const log: Log = (_level, message) => {
    if (message.startsWith('link closed')) joinedUs.delete(index);
  };
  const agent = new Agent({
    config: {
      edge: new URL(options.edgeUrl),
      region: undefined,
      name: `bench-${index}`,
      joinToken: options.joinToken,
    },
    sources: [attachedSource(engine, source)],
    moves: undefined,
    powerSources: [],
    environment: {},
    identity: new HostIdentity(join(options.directory, `agent-${index}`), systemClock, log),
    clock: systemClock,
    random: Math.random,
    log,
    onJoined: () => joinedUs.set(index, monotonicUs()),
    onFatal: (why) => fatal.push(`agent ${index}: ${why}`),
  });
  agent.start();
};

const start = async (options: Start): Promise<void> => {
  edgePort = Number(new URL(options.edgeUrl).port);
  for (let at = 0; at < options.count; at += startBatch) {
    const until = Math.min(options.count, at + startBatch);
    for (let offset = at; offset < until; offset += 1) startAgent(options, options.firstIndex + offset);
    await new Promise((resolve) => setTimeout(resolve, startBatchMs));
  }
};

const cut = (): number => {
  const sockets = [...edgeSockets];
  for (const socket of sockets) socket.destroy();
  joinedUs.clear();
  return sockets.length;
};

serveCommands<AgentsCommand, AgentsAnswer>(async (command) => {
  let cutSockets = 0;
  if (command.kind === 'start') await start(command);
  else if (command.kind === 'cut') cutSockets = cut();
  return { linked: joinedUs.size, joinedUs: [...joinedUs.values()], cutSockets, fatal: fatal.slice(0, 10) };
});
