/** Takes the running stack's configuration from Pulumi, every key of it, for `parseConfig`. */
import * as pulumi from '@pulumi/pulumi';
import type { ConfigSource } from './config.ts';

/** Not among Pulumi's declared functions, though its `Config` is made of it: only it tells which keys are secret. */
const { isConfigSecret } = pulumi.runtime as typeof pulumi.runtime & {
  readonly isConfigSecret: (key: string) => boolean;
};

/** Keys of other namespaces, such as `aws:region`, are the providers'. */
export const configSource = (): ConfigSource => {
  const start = `${pulumi.getProject()}:`;
  const ours = Object.entries(pulumi.runtime.allConfig()).filter(([key]) => key.startsWith(start));
  return {
    values: Object.fromEntries(ours.map(([key, value]) => [key.slice(start.length), value])),
    secretKeys: ours.filter(([key]) => isConfigSecret(key)).map(([key]) => key.slice(start.length)),
  };
};
