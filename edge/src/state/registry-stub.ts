/** The one registry object of the deployment. */
import type { Env } from '../env.ts';
import type { Registry } from './registry.ts';

export const registryOf = (env: Env): DurableObjectStub<Registry> =>
  env.REGISTRY.get(env.REGISTRY.idFromName('registry'));
