/**
 * The peer `@portkey-ai/gateway` (MIT, npm), from its own install in `bench/peers`: one Node process that
 * forwards to an OpenAI-compatible host named per request. Bound to 127.0.0.1 by `bind-loopback.mjs`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../cli/src/free-port.ts';
import { startProgram, waitUntil } from './program.ts';
import type { System } from './system.ts';

const peersDirectory = join(import.meta.dirname, '../peers');
const entryPath = join(peersDirectory, 'node_modules/@portkey-ai/gateway/build/start-server.js');
const startMsMax = 30_000;

export const portkey: System = {
  name: 'portkey',
  start: async (enginePort) => {
    if (!existsSync(entryPath)) throw new Error('The peers are not installed: npm ci --prefix bench/peers');
    const port = await freePort();
    const preload = join(import.meta.dirname, 'bind-loopback.mjs');
    const program = startProgram(
      process.execPath,
      ['--import', preload, entryPath, `--port=${port}`, '--headless'],
      { NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: 'localhost,127.0.0.1' },
    );
    const isThere = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/`)).status === 200;
    await waitUntil('the start of the Portkey gateway', startMsMax, isThere).catch(async (thrown: Error) => {
      await program.stop();
      throw new Error(`${thrown.message}\n${program.tail()}`);
    });
    return {
      target: {
        host: '127.0.0.1',
        port,
        path: '/v1/chat/completions',
        headers: {
          authorization: 'Bearer none',
          'x-portkey-provider': 'openai',
          'x-portkey-custom-host': `http://127.0.0.1:${enginePort}/bench/v1`,
        },
      },
      pids: { edge: program.pid },
      stop: () => program.stop(),
    };
  },
};
