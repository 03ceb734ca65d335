/** The Worker: the fetch handler and the Durable Object classes of the bundle. Wiring only. */
import { app } from './app.ts';
import type { Env } from './env.ts';

export { Region } from './directory/region.ts';
export { NodeLink } from './link/node-link.ts';
export { Registry } from './state/registry.ts';

export default {
  fetch(request, env, context) {
    const answer = Promise.resolve(app.fetch(request, env, context));
    // When a client leaves, the event ends where it stands, `finally` blocks and all, unless something waits for it.
    context.waitUntil(answer);
    return answer;
  },
} satisfies ExportedHandler<Env>;
