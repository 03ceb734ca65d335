/**
 * Ollama's library: the running server pulls the model when it is asked to (`POST /api/pull`, which tells of its
 * progress a line at a time, as in its `docs/api`). Its files lie as OLLAMA_MODELS says.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { byteSize, UserError } from '../../terminal.ts';
import type { ModelStore, StorePlace } from './store.ts';

const directoryOf = ({ OLLAMA_MODELS, HOME = '' }: StorePlace['environment']): string =>
  OLLAMA_MODELS || join(HOME, '.ollama/models');

/** One line of its answer, for a person; throws what it says went wrong. */
export const pullWords = (line: string): string | undefined => {
  const { status, total, completed, error } = jsonRecordIn(line) ?? {};
  if (typeof error === 'string') throw new UserError(`Ollama could not pull the model: ${error}`);
  if (typeof status !== 'string') return undefined;
  if (typeof total !== 'number' || typeof completed !== 'number') return status;
  return `${byteSize(completed)} of ${byteSize(total)}`;
};

export const ollama: ModelStore = {
  name: 'ollama',
  modelOf: ({ id }) => id,
  pathOf: ({ environment }) => directoryOf(environment),
  isThere: ({ id, environment }) => {
    const [name = '', tag = 'latest'] = id.split(':');
    const manifests = 'manifests/registry.ollama.ai';
    return existsSync(
      join(directoryOf(environment), manifests, name.includes('/') ? '' : 'library', name, tag),
    );
  },
  fetchThrough: async (url, id, tell, signal) => {
    const answer = await fetch(new URL('/api/pull', url), {
      method: 'POST',
      body: JSON.stringify({ model: id }),
      signal,
    });
    if (answer.status !== 200 || answer.body === null) {
      throw new UserError(`Ollama could not pull ${id}: it answers ${answer.status}.`);
    }
    const tellLine = (line: string): void => {
      const words = pullWords(line);
      if (words !== undefined) tell(words);
    };
    let held = '';
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (held + text).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) tellLine(line);
    }
    // Its last words may lack a line end.
    tellLine(held);
  },
};
