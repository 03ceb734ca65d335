/** A hosted endpoint of OpenAI's API, as its reference has it: a key is asked for, nothing else is there. */
import { type Answer, sendJson } from '../fake-engine.ts';
import type { Kind } from './fake.ts';
import { json, modelList, routed, speak } from './shapes.ts';

const error = (message: string, type: string, code: string | null): string =>
  JSON.stringify({ error: { message, type, param: null, code } }, undefined, 2);

const unknownUrl: Answer = ({ received, response }) =>
  sendJson(
    response,
    404,
    error(`Invalid URL (${received.method} ${received.path})`, 'invalid_request_error', null),
  );

const spoken = speak(
  {
    id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
    extra: { service_tier: 'default', system_fingerprint: 'fp_44709d6fcb' },
    tokens: ['Hello', ' there', '!'],
    delta: (change) => change,
    choice: () => ({ logprobs: null }),
    noUsage: undefined,
    usage: {
      ...{ prompt_tokens: 1_117, completion_tokens: 3, total_tokens: 1_120 },
      prompt_tokens_details: { cached_tokens: 1_024, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
    },
  },
  (name) => error(`The model \`${name}\` does not exist`, 'invalid_request_error', 'model_not_found'),
);

const wrongKey = error('Incorrect API key provided.', 'invalid_request_error', 'invalid_api_key');

export const openai: Kind = {
  name: 'openai',
  usage: { prompt: 1_117, cached: 1_024, generated: 3 },
  whileLoading: 'no listener',
  error500: error('The server had an error while processing your request.', 'server_error', null),
  help: '',
  answer: (serving) => {
    const api = spoken(serving);
    const routes = routed(
      {
        '/v1/models': json(() => modelList(serving.models, 'system')),
        '/v1/chat/completions': api,
        '/v1/completions': api,
      },
      unknownUrl,
    );
    return (exchange) => {
      const { apiKey } = serving;
      const isKnown = apiKey === undefined || exchange.received.headers.authorization === `Bearer ${apiKey}`;
      return isKnown ? routes(exchange) : sendJson(exchange.response, 401, wrongKey);
    };
  },
};
