/** llama-server: answers as `../llama-server.ts` has them, `/health`, `/metrics`, `/props`, `/slots` as documented. */
import { sendJson } from '../fake-engine.ts';
import { llamaError, llamaServerAnswer } from '../llama-server.ts';
import type { Kind } from './fake.ts';
import { json, metricsPage, routed, text } from './shapes.ts';

const slots = 4;

export const llamaCpp: Kind = {
  name: 'llama-cpp',
  usage: { prompt: 1, cached: 30, generated: 5 },
  whileLoading: { says503: llamaError(503, 'Loading model', 'unavailable_error') },
  error500: llamaError(500, 'failed to decode', 'server_error'),
  help: [
    '-m,    --model FNAME',
    '-a,    --alias STRING',
    '--host HOST',
    '--port PORT',
    '-sm,   --split-mode {none,layer,row}',
    '--metrics',
    '--slots, --no-slots',
    '--slot-save-path PATH',
    '-np,   --parallel N',
  ].join('\n'),
  answer: ({ models, counts }) => {
    const page = (): string =>
      metricsPage({
        'llamacpp:prompt_tokens_total': counts.promptTokens,
        'llamacpp:prompt_seconds_total': 0.5,
        'llamacpp:tokens_predicted_total': counts.generatedTokens,
        'llamacpp:requests_processing': counts.running,
        'llamacpp:requests_deferred': counts.waiting,
      });
    const slotList = Array.from({ length: slots }, (_, id) => ({ id, n_ctx: 1024, is_processing: false }));
    return routed(
      {
        '/health': json(() => '{"status":"ok"}'),
        '/metrics': text(page),
        '/props': json(() => JSON.stringify({ total_slots: slots, model_path: '/models/m.gguf' })),
        '/slots': json(() => JSON.stringify(slotList)),
        '/apply-template': ({ response }) =>
          sendJson(response, 501, llamaError(501, 'This fake has no template', 'not_supported_error')),
      },
      llamaServerAnswer({ models }),
    );
  },
};
