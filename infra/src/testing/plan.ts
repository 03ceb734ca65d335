/**
 * What a stack would make, as data: Pulumi's own mocks take its resources instead of a cloud. A value that the program
 * marked as secret is wrapped, so that checks and snapshots see which are.
 */
import * as pulumi from '@pulumi/pulumi';

export interface Resource {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

export interface Plan {
  readonly target: string;
  readonly resources: readonly Resource[];
  readonly outputs: Readonly<Record<string, unknown>>;
}

/** Whether it is of that type, said without its provider and module. */
export const isA =
  (type: string) =>
  (resource: Resource): boolean =>
    resource.type.endsWith(`:${type}`);

/** A value that Pulumi keeps encrypted. */
export class SecretValue {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** Pulumi takes a secret within a value out of it and makes the whole input one. */
const unwrapped = (inputs: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(inputs).map(([key, value]) => [
      key,
      pulumi.runtime.isRpcSecret(value) ? new SecretValue(pulumi.runtime.unwrapRpcSecret(value)) : value,
    ]),
  );

/** What clouds tell of a resource once it is there, as far as the stacks ask. */
export const toldByCloud = (type: string, name: string): Record<string, unknown> => {
  const account = 'arn:aws:ssm:eu-west-1:123456789012';
  const told: Readonly<Record<string, Record<string, unknown>>> = {
    'aws:ssm/parameter:Parameter': { arn: `${account}:parameter/cognitora/prod/join-token` },
    'aws:iam/instanceProfile:InstanceProfile': { arn: 'arn:aws:iam::123456789012:instance-profile/fleet' },
    'aws:iam/role:Role': { name: `${name}-role` },
    'gcp:serviceaccount/account:Account': { email: 'fleet@my-project.iam.gserviceaccount.com' },
    'azure:keyvault/keyVault:KeyVault': { vaultUri: 'https://fleet0001.vault.azure.net/' },
    'azure:keyvault/secret:Secret': {
      resourceVersionlessId: '/subscriptions/s/vaults/fleet0001/secrets/join-token',
    },
    'azure:authorization/userAssignedIdentity:UserAssignedIdentity': {
      clientId: '11111111-1111-4111-8111-111111111111',
      principalId: '22222222-2222-4222-8222-222222222222',
    },
  };
  return told[type] ?? {};
};

/** Hetzner numbers its resources. */
export const idOf = (type: string, name: string): string =>
  type.startsWith('hcloud:') ? '4711' : `${name}-id`;

/** What the image of AWS calls its root disk: Debian's name for it. */
export const rootDeviceName = '/dev/xvda';

/** What clouds answer when a stack asks. */
export const answerOf = (token: string): Record<string, unknown> => {
  if (token === 'azure:core/getClientConfig:getClientConfig') {
    return { tenantId: 'tenant', objectId: 'deployer', clientId: 'client', subscriptionId: 's', id: 'id' };
  }
  if (token === 'aws:ec2/getAmi:getAmi') return { rootDeviceName };
  if (token === 'cloudflare:index/getWorkersScripts:getWorkersScripts') return { results: deployed };
  throw new Error(`the stack asks the cloud for ${token}, which no mock knows`);
};

let deployed: readonly { readonly id: string; readonly migrationTag: string }[] = [];

export interface PlanOptions {
  readonly target: string;
  readonly config: Readonly<Record<string, string>>;
  readonly secretKeys: readonly string[];
  /** Outputs of other stacks, by their names. */
  readonly stacks?: Readonly<Record<string, Record<string, unknown>>>;
  /** What runs on Cloudflare already. */
  readonly deployed?: readonly { readonly id: string; readonly migrationTag: string }[];
  /** Loads the stack's program, as Pulumi does, and returns what it exports. */
  readonly load: () => Promise<object>;
}

const outputValue = async (value: unknown): Promise<unknown> => {
  const output: pulumi.Output<unknown> = pulumi.output(value);
  const plain = await new Promise((accept) => {
    output.apply(accept);
  });
  return (await pulumi.isSecret(output)) ? new SecretValue(plain) : plain;
};

export const planOf = async (options: PlanOptions): Promise<Plan> => {
  const { target, config, secretKeys, stacks = {}, load } = options;
  deployed = options.deployed ?? [];
  const project = `cognitora-${target}`;
  const resources: Resource[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, custom }) => {
        if (type === 'pulumi:pulumi:StackReference') {
          return { id: name, state: { ...inputs, outputs: stacks[name] ?? {}, secretOutputNames: [] } };
        }
        if (custom !== false) resources.push({ type, name, inputs: unwrapped(inputs) });
        const plain = Object.fromEntries(
          Object.entries(inputs).map(([key, value]) => [
            key,
            pulumi.runtime.isRpcSecret(value) ? pulumi.runtime.unwrapRpcSecret(value) : value,
          ]),
        );
        const state = { name: `${name}-name`, ...plain, ...toldByCloud(type, name) };
        return { id: idOf(type, name), state };
      },
      call: ({ token }) => answerOf(token),
    },
    project,
    'prod',
    false,
    'acme',
  );
  const values = Object.entries(config).map(([key, value]) => [`${project}:${key}`, value]);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(values),
    secretKeys.map((key) => `${project}:${key}`),
  );
  const exported = await load();
  const outputs: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(exported)) outputs[key] = await outputValue(value);
  await pulumi.runtime.disconnect();
  resources.sort((a, b) => (`${a.type} ${a.name}` < `${b.type} ${b.name}` ? -1 : 1));
  return { target, resources, outputs };
};
