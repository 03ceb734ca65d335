/** The process at the near end of the link: the production edge, reachable from the far end. */
import { serveCommands } from '../machine/worker-process.ts';
import { type EdgeUnderTest, startEdgeUnderTest } from '../systems/edge-under-test.ts';
import type { EdgeAnswer, EdgeCommand } from './messages.ts';

let edge: EdgeUnderTest | undefined;
let joinToken = '';

const readyNodes = async ({ admin }: EdgeUnderTest): Promise<number> => {
  const { regions } = await admin('GET', '/admin/nodes');
  const nodes = (regions as readonly { readonly nodes: readonly NodeSeen[] }[]).flatMap((one) => one.nodes);
  return nodes.filter(({ replicas }) => replicas.every(({ state }) => state === 'ready')).length;
};

interface NodeSeen {
  readonly replicas: readonly { readonly state: string }[];
}

serveCommands<EdgeCommand, EdgeAnswer>(async (command) => {
  if (command.kind === 'start') {
    edge = await startEdgeUnderTest('one-object', { host: command.host });
    joinToken = await edge.joinToken(command.hosts);
  }
  if (edge === undefined) throw new Error('the edge was not started');
  if (command.kind === 'stop') await edge.stop();
  const { url, port, apiKey, directory } = edge;
  const ready = command.kind === 'ready' ? await readyNodes(edge) : 0;
  return { url, port, apiKey, joinToken, directory, ready };
});
