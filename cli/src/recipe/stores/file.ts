/**
 * A GGUF file of the hub, `hf:OWNER/REPO/FILE.gguf`, which the embedded engine's downloader fetches and verifies before
 * the engine starts. It lies where `cgn up --model hf:...` would have put it, so that both share it.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { eachLine } from '../../lines.ts';
import { UserError } from '../../terminal.ts';
import type { ModelStore, StorePlace } from './store.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');
const fetchProgram = join(root, 'embedded-engine/src/fetch.ts');

const pathOf = ({ id, dataDirectory }: Pick<StorePlace, 'id' | 'dataDirectory'>): string =>
  join(dataDirectory, 'models/hf', id.replace(/^hf:/, ''));

export const file: ModelStore = {
  name: 'file',
  modelOf: pathOf,
  pathOf,
  isThere: (place) => existsSync(pathOf(place)),
  fetchBefore: ({ id, dataDirectory, environment }, tell, signal) =>
    new Promise((accept, reject) => {
      const argv = [fetchProgram, '--model', id, '--models-dir', join(dataDirectory, 'models')];
      const child = spawn(process.execPath, argv, {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: environment,
        signal,
      });
      let last = '';
      eachLine(child.stderr, (line) => {
        last = String(jsonRecordIn(line)?.message ?? line);
        tell(last);
      });
      child.once('error', reject);
      child.once('close', (status) => {
        if (status === 0) accept();
        else reject(new UserError(`${id} could not be fetched: ${last}`));
      });
    }),
};
