/** A deployment for tests that run without workerd: settings that parse, and a registry whose answers are scripted. */
import type { Env } from '../src/env.ts';
import type { Registry } from '../src/state/registry.ts';

export const fleetSecret = 'a fleet secret of 32 characters!';

/** An environment of its own: settings are remembered per environment. */
export const envOf = (
  variables: Partial<Record<keyof Env, string>> = {},
  registry: Partial<Pick<Registry, 'findKey' | 'enrol' | 'isEnrolled'>> = {},
): Env => {
  const namespace = { idFromName: (name: string) => name, get: () => registry };
  const secrets = { ADMIN_KEY_HASH: 'a'.repeat(64), FLEET_SECRET: fleetSecret };
  return {
    REGION: namespace,
    NODE_LINK: namespace,
    REGISTRY: namespace,
    ...secrets,
    ...variables,
  } as unknown as Env;
};
