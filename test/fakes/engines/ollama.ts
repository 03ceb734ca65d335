/**
 * Ollama's OpenAI surface as documented: it listens and lists what was pulled before anything is loaded, the first
 * request loads, `usage` says nothing of its cache, every event carries `fp_ollama`. Never run here.
 */
import type { Kind } from './fake.ts';
import { json, modelList, routed, speak, text } from './shapes.ts';

const error = (message: string, type: string, code: string | null): string =>
  JSON.stringify({ error: { message, type, param: null, code } });

const spoken = speak(
  {
    id: 'chatcmpl-415',
    extra: { system_fingerprint: 'fp_ollama' },
    tokens: ['Hoi', ' daar', '!'],
    delta: (change) => ({ role: 'assistant', content: '', ...change }),
    choice: () => ({}),
    noUsage: undefined,
    usage: { prompt_tokens: 26, completion_tokens: 3, total_tokens: 29 },
  },
  (name) => error(`model "${name}" not found, try pulling it first`, 'not_found_error', null),
);

export const ollama: Kind = {
  name: 'ollama',
  usage: { prompt: 26, cached: 0, generated: 3 },
  whileLoading: 'holds requests',
  error500: error('llama runner process has terminated: exit status 2', 'api_error', null),
  help: ['Start Ollama', '', 'Environment Variables:', '  OLLAMA_HOST', '  OLLAMA_KEEP_ALIVE'].join('\n'),
  answer: (serving) =>
    routed(
      {
        '/': text(() => 'Ollama is running', 'text/plain; charset=utf-8'),
        '/api/version': json(() => '{"version":"0.40.0"}'),
        '/v1/models': json(() => modelList(serving.models, 'library')),
        '/v1/chat/completions': spoken(serving),
        '/v1/completions': spoken(serving),
      },
      text(() => '404 page not found', 'text/plain'),
    ),
};
