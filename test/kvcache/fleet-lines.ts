/** An agent's end of a daemon's fleet lines: tells the roster, answers questions from what the daemons hold. */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  type FromDaemon,
  kvDaemonPaths,
  kvFleetUpgrade,
  parseFromDaemon,
  type ToDaemon,
} from '@cognitora/protocol/kv-daemon';
import { TextLines } from '@cognitora/protocol/text-lines';
import { onTestFinished } from 'vitest';

/** What the edge's directory would be: of each digest who holds it. */
export class Directory {
  readonly #holders = new Map<string, Set<NodeId>>();

  of(digest: string): readonly NodeId[] {
    return [...(this.#holders.get(digest) ?? [])];
  }

  learn(node: NodeId, line: FromDaemon & { readonly type: 'held' }): void {
    if (line.isCleared) for (const nodes of this.#holders.values()) nodes.delete(node);
    for (const digest of line.removed) this.#holders.get(digest)?.delete(node);
    for (const digest of line.added) {
      this.#holders.set(digest, (this.#holders.get(digest) ?? new Set<NodeId>()).add(node));
    }
  }
}

export interface AgentEnd {
  readonly lines: readonly FromDaemon[];
  say(line: ToDaemon): void;
}

export const openFleetLines = async (path: string, node: NodeId, directory: Directory): Promise<AgentEnd> => {
  const headers = { connection: 'Upgrade', upgrade: kvFleetUpgrade };
  const asked = request({ socketPath: path, path: kvDaemonPaths.fleet, headers });
  const [socket, head] = await new Promise<[Socket, Buffer]>((resolve, reject) => {
    asked.once('upgrade', (_, upgraded: Socket, first: Buffer) => resolve([upgraded, first]));
    asked.once('response', ({ statusCode }) => reject(new Error(`status ${statusCode}`)));
    asked.once('error', reject);
    asked.end();
  });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  const lines: FromDaemon[] = [];
  const say = (line: ToDaemon): void => void socket.write(`${JSON.stringify(line)}\n`);
  const text = new TextLines(2 ** 20);
  const read = (bytes: Uint8Array): void => {
    for (const each of text.push(bytes)) {
      const line = parseFromDaemon(each);
      lines.push(line);
      if (line.type === 'held') directory.learn(node, line);
      if (line.type !== 'ask') continue;
      say({ type: 'holders', ask: line.ask, holders: line.digests.map((digest) => directory.of(digest)) });
    }
  };
  if (head.length > 0) read(head);
  socket.on('data', read);
  return { lines, say };
};
