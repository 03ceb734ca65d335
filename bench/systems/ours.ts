/**
 * Cognitora as it is served: edge on workerd, one agent with its link, in either layout. Production programs
 * only.
 */
import { join } from 'node:path';
import { startEdgeUnderTest } from './edge-under-test.ts';
import { startProgram, waitUntil } from './program.ts';
import type { System } from './system.ts';

const agentPath = join(import.meta.dirname, '../../node-agent/src/main.ts');
const startMsMax = 15_000;

const ours = (name: string, layout: 'one-object' | 'object-per-node'): System => ({
  name,
  start: async (enginePort) => {
    const edge = await startEdgeUnderTest(layout);
    const agent = startProgram(
      process.execPath,
      [
        agentPath,
        ...['--config', '/dev/null'],
        ...['--edge', edge.url],
        ...['--engine-url', `http://127.0.0.1:${enginePort}/bench`],
        ...['--data-dir', join(edge.directory, 'agent')],
      ],
      { COGNITORA_JOIN_TOKEN: await edge.joinToken(1), COGNITORA_PARENT_PIPE: '1' },
    );
    const isReady = async (): Promise<boolean> => (await fetch(`${edge.url}/readyz`)).status === 200;
    const stop = async (): Promise<void> => {
      await agent.stop();
      await edge.stop();
    };
    await waitUntil("the agent's start", startMsMax, isReady).catch(async (thrown: Error) => {
      await stop();
      throw new Error(`${thrown.message}\n${agent.tail()}`);
    });
    return {
      target: {
        host: '127.0.0.1',
        port: edge.port,
        path: '/v1/chat/completions',
        headers: { authorization: `Bearer ${edge.apiKey}` },
      },
      pids: { edge: edge.pid(), agent: agent.pid },
      stop,
    };
  },
});

export const oneHop = ours('ours one hop', 'one-object');
export const twoHops = ours('ours two hops', 'object-per-node');
