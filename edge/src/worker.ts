/** The Worker: the fetch handler and the Durable Object classes of the bundle. Wiring only. */
import { app } from './app.ts';

export { Region } from './directory/region.ts';
export { NodeLink } from './link/node-link.ts';
export { Registry } from './state/registry.ts';

export default app;
