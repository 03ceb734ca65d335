/**
 * The five stacks, planned by Pulumi's mocks from their own programs: what they would make is compared with what is
 * committed beside this file, and held against the rules; and a plan that was changed for the worse breaks them.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { cloudInit, packedUserData } from './host/cloud-init.ts';
import type { HostSpec } from './host/host-files.ts';
import { type Plan, type Resource, SecretValue } from './testing/plan.ts';
import { filesOf, readable } from './testing/readable.ts';
import { brokenRules, openingsOf } from './testing/rules.ts';
import {
  fleetSecret,
  fullConfig,
  joinToken,
  leastConfig,
  planOfStack,
  secretTexts,
  type Target,
  targets,
} from './testing/stacks.ts';

const peers = ['tcp 6381-6381 the fleet', 'udp 6381-6381 the fleet'];
const asked = ['tcp 22-22 203.0.113.7/32', 'udp 60000-60010 198.51.100.0/24'];
/** At Hetzner peers meet in the private network, which its firewalls do not guard. */
const openIn: Readonly<Record<Target, readonly string[]>> = {
  aws: [...asked, ...peers].sort(),
  azure: [...asked, ...peers].sort(),
  cloudflare: [],
  gcp: [...asked, ...peers].sort(),
  hetzner: asked,
};

const least = new Map<Target, Plan>();
const full = new Map<Target, Plan>();
const planIn = (plans: Map<Target, Plan>, target: Target): Plan => {
  const plan = plans.get(target);
  if (plan === undefined) throw new Error(`no plan of ${target}`);
  return plan;
};

beforeAll(async () => {
  for (const target of targets) {
    least.set(target, await planOfStack(target, leastConfig[target]));
    full.set(target, await planOfStack(target, fullConfig[target]));
  }
});

describe.each(targets)('the stack %s', (target) => {
  test('plans what is committed, at its least and with all that can be asked for', async () => {
    for (const [name, plans] of Object.entries({ least, full })) {
      const text = readable(planIn(plans, target), secretTexts);
      await expect(text).toMatchFileSnapshot(`./plans/${target}-${name}.txt`);
    }
  });

  test('lets in nothing but what was asked for', () => {
    expect(openingsOf(planIn(least, target))).toEqual([]);
    expect(openingsOf(planIn(full, target))).toEqual(openIn[target]);
  });

  test('breaks no rule', () => {
    expect(brokenRules(planIn(least, target), { open: [], secrets: secretTexts })).toEqual([]);
    const expected = { open: openIn[target], secrets: secretTexts };
    expect(brokenRules(planIn(full, target), expected)).toEqual([]);
  });
});

/** The full plan with one resource changed, or one more. */
const changed = (
  target: Target,
  match: (resource: Resource) => boolean,
  change: (inputs: Record<string, unknown>) => Record<string, unknown>,
): Plan => {
  const plan = planIn(full, target);
  let count = 0;
  const resources = plan.resources.map((resource) => {
    if (!match(resource)) return resource;
    count += 1;
    return { ...resource, inputs: change({ ...resource.inputs }) };
  });
  expect(count, `resources that were changed in ${target}`).toBeGreaterThan(0);
  return { ...plan, resources };
};
const isA =
  (type: string) =>
  (resource: Resource): boolean =>
    resource.type.endsWith(`:${type}`);
const withMore = (target: Target, type: string, inputs: Record<string, unknown>): Plan => {
  const plan = planIn(full, target);
  return { ...plan, resources: [...plan.resources, { type, name: 'more', inputs }] };
};
const tags = { 'managed-by': 'pulumi', project: 'cognitora', stack: 'prod' };
const documentOf = (statement: Record<string, unknown>): string =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...statement }] });

type Mutation = [what: string, target: Target, plan: () => Plan, problem: string];

describe('a plan breaks a rule where', () => {
  const ports: Mutation[] = [
    [
      'AWS opens a port to the world',
      'aws',
      () =>
        withMore('aws', 'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule', {
          securityGroupId: 'fleet-id',
          ipProtocol: 'tcp',
          fromPort: 8080,
          toPort: 8080,
          cidrIpv4: '0.0.0.0/0',
          tags,
        }),
      'lets in: tcp 8080-8080 0.0.0.0/0',
    ],
    [
      'AWS opens the peer port beyond the fleet',
      'aws',
      () =>
        changed('aws', isA('SecurityGroupIngressRule'), ({ referencedSecurityGroupId, ...inputs }) =>
          referencedSecurityGroupId === undefined ? inputs : { ...inputs, cidrIpv4: '10.64.0.0/16' },
        ),
      'lets in: tcp 6381-6381 10.64.0.0/16',
    ],
    [
      'AWS lets the default group in',
      'aws',
      () =>
        changed('aws', isA('DefaultSecurityGroup'), (inputs) => ({ ...inputs, ingress: [{ self: true }] })),
      'lets in: {"self":true}',
    ],
    [
      'AWS puts hosts into another group, too',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({ ...inputs, vpcSecurityGroupIds: ['a', 'b'] })),
      "fleet: a host must be in the fleet's security group and no other",
    ],
    [
      'AWS makes a load balancer, which no rule knows',
      'aws',
      () => withMore('aws', 'aws:lb/loadBalancer:LoadBalancer', { internal: false }),
      'LoadBalancer more is of a type that no rule knows',
    ],
    [
      'Google opens the peer port to an address',
      'gcp',
      () =>
        changed('gcp', isA('Firewall'), ({ sourceServiceAccounts, ...inputs }) =>
          sourceServiceAccounts === undefined ? inputs : { ...inputs, sourceRanges: ['0.0.0.0/0'] },
        ),
      'lets in: udp 6381-6381 0.0.0.0/0',
    ],
    [
      'Google gives a host an address',
      'gcp',
      () =>
        changed('gcp', isA('RegionInstanceTemplate'), (inputs) => ({
          ...inputs,
          networkInterfaces: [{ accessConfigs: [{}] }],
        })),
      'RegionInstanceTemplate fleet a host has a public address',
    ],
    [
      'Azure does not deny what its network lets in',
      'azure',
      () =>
        changed('azure', isA('NetworkSecurityRule'), (inputs) =>
          inputs.access === 'Deny' ? { ...inputs, access: 'Allow' } : inputs,
        ),
      'nothing denies what Azure lets the members of a network do',
    ],
    [
      'Azure has a host without a security group',
      'azure',
      () =>
        changed('azure', isA('LinuxVirtualMachineScaleSet'), (inputs) => ({
          ...inputs,
          networkInterfaces: [{ name: 'fleet' }],
        })),
      'LinuxVirtualMachineScaleSet fleet a host without a security group',
    ],
    [
      'Hetzner has a host without a firewall',
      'hetzner',
      () => changed('hetzner', isA('Server'), (inputs) => ({ ...inputs, firewallIds: [] })),
      'fleet-0: a host without a firewall',
    ],
    [
      'Hetzner opens a port',
      'hetzner',
      () =>
        changed('hetzner', isA('Firewall'), (inputs) => ({
          ...inputs,
          rules: [{ direction: 'in', protocol: 'tcp', port: '443', sourceIps: ['::/0'] }],
        })),
      'lets in: tcp 443-443 ::/0',
    ],
    [
      'Cloudflare answers under a second name',
      'cloudflare',
      () => changed('cloudflare', isA('WorkersScriptSubdomain'), (inputs) => ({ ...inputs, enabled: true })),
      'WorkersScriptSubdomain edge the Worker answers at workers.dev, too',
    ],
  ];
  const rights: Mutation[] = [
    [
      'a policy allows every action',
      'aws',
      () =>
        changed('aws', isA('RolePolicy'), (inputs) => ({
          ...inputs,
          policy: documentOf({ Action: 'ssm:*', Resource: 'arn:aws:ssm:a:1:parameter/b' }),
        })),
      'RolePolicy fleet wildcard in Action of policy',
    ],
    [
      'a policy is for every resource',
      'aws',
      () =>
        changed('aws', isA('RolePolicy'), (inputs) => ({
          ...inputs,
          policy: documentOf({ Action: ['ssm:GetParameter'], Resource: ['*'] }),
        })),
      'RolePolicy fleet wildcard in Resource of policy',
    ],
    [
      'everybody may take on the role',
      'aws',
      () =>
        changed('aws', isA('Role'), (inputs) => ({
          ...inputs,
          assumeRolePolicy: documentOf({ Action: 'sts:AssumeRole', Principal: { AWS: '*' } }),
        })),
      'Role fleet wildcard in Principal of assumeRolePolicy',
    ],
    [
      'all but one action is allowed',
      'aws',
      () =>
        changed('aws', isA('RolePolicy'), (inputs) => ({
          ...inputs,
          policy: documentOf({ NotAction: 'iam:CreateUser', Resource: 'arn:aws:ssm:a:1:parameter/b' }),
        })),
      'RolePolicy fleet wildcard in NotAction of policy',
    ],
    [
      'Google lets everybody read the token',
      'gcp',
      () => changed('gcp', isA('SecretIamMember'), (inputs) => ({ ...inputs, member: 'allUsers' })),
      'SecretIamMember fleet a role that may do everything, or for everybody',
    ],
    [
      'Google lets hosts administer secrets',
      'gcp',
      () =>
        changed('gcp', isA('SecretIamMember'), (inputs) => ({
          ...inputs,
          role: 'roles/secretmanager.admin',
        })),
      'SecretIamMember fleet a role that may do everything, or for everybody',
    ],
    [
      'Azure lets hosts own something',
      'azure',
      () => changed('azure', isA('Assignment'), (inputs) => ({ ...inputs, roleDefinitionName: 'Owner' })),
      'Assignment fleet-hosts a role that may do everything',
    ],
    [
      'an Azure role is for the subscription',
      'azure',
      () => changed('azure', isA('Assignment'), (inputs) => ({ ...inputs, scope: '/subscriptions/s' })),
      'Assignment fleet-hosts a role over the whole subscription',
    ],
  ];
  const stored: Mutation[] = [
    [
      'a disk of AWS is not encrypted',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({
          ...inputs,
          blockDeviceMappings: [{ ebs: { encrypted: 'true' } }, { ebs: { encrypted: 'false' } }],
        })),
      'LaunchTemplate fleet a disk is not encrypted',
    ],
    [
      'AWS gives metadata to whoever asks',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({
          ...inputs,
          metadataOptions: { httpTokens: 'optional', httpPutResponseHopLimit: 1 },
        })),
      'LaunchTemplate fleet metadata are to be had without a session (IMDSv2) or from afar',
    ],
    [
      'the token of AWS is kept in plain text',
      'aws',
      () => changed('aws', isA('Parameter'), (inputs) => ({ ...inputs, type: 'String' })),
      'Parameter fleet a parameter is not a SecureString',
    ],
    [
      'a disk of Azure is not encrypted',
      'azure',
      () =>
        changed(
          'azure',
          isA('LinuxVirtualMachineScaleSet'),
          ({ encryptionAtHostEnabled: _, ...inputs }) => inputs,
        ),
      'LinuxVirtualMachineScaleSet fleet a disk is not encrypted',
    ],
    [
      'a host has no tags',
      'gcp',
      () => changed('gcp', isA('RegionInstanceTemplate'), ({ labels: _, ...inputs }) => inputs),
      'RegionInstanceTemplate fleet has no tag stack',
    ],
    [
      'a token is no secret',
      'azure',
      () =>
        changed(
          'azure',
          (each) => each.type === 'azure:keyvault/secret:Secret',
          (inputs) => ({
            ...inputs,
            value: joinToken,
          }),
        ),
      'Secret fleet.value shows a secret',
    ],
    [
      'a token is in user data',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({
          ...inputs,
          userData: Buffer.from(`#cloud-config\n# ${joinToken}`).toString('base64'),
        })),
      'LaunchTemplate fleet.userData shows a secret',
    ],
    [
      'a token is in a file of user data',
      'azure',
      () => {
        const servers = planIn(full, 'hetzner').resources.filter(isA('Server'));
        const userData = servers[0]?.inputs.userData;
        const text = userData instanceof SecretValue ? String(userData.value) : '';
        const customData = Buffer.from(text).toString('base64');
        return changed('azure', isA('LinuxVirtualMachineScaleSet'), (inputs) => ({ ...inputs, customData }));
      },
      'LinuxVirtualMachineScaleSet fleet.customData shows a secret',
    ],
    [
      'an output shows a secret',
      'cloudflare',
      () => ({ ...planIn(full, 'cloudflare'), outputs: { all: [`"${fleetSecret}"`] } }),
      'output.all.0 shows a secret',
    ],
  ];
  test.each([...ports, ...rights, ...stored])('%s', (_, target, plan, problem) => {
    const expected = { open: openIn[target], secrets: secretTexts };
    expect(brokenRules(plan(), expected)).toContain(problem);
  });
});

const bareSpec: HostSpec = {
  edge: 'https://edge.example',
  region: undefined,
  release: '0.1.0',
  releaseUrl: undefined,
  token: { kind: 'user-data', token: joinToken },
  agentConfig: '',
  kvcachedConfig: undefined,
  setup: undefined,
  sources: { installScript: '', agentUnit: '', kvcachedUnit: '' },
};

describe('what a host gets', () => {
  const userDataOf = (target: Target, plans = full): string => {
    for (const { inputs } of planIn(plans, target).resources) {
      const metadata = inputs.metadata as Record<string, string> | undefined;
      const given = inputs.userData ?? inputs.customData ?? metadata?.['user-data'];
      if (given !== undefined) return String(given instanceof SecretValue ? given.value : given);
    }
    throw new Error(`no host in ${target}`);
  };
  const hosts = targets.filter((target) => target !== 'cloudflare');

  test.each(hosts)(
    'in %s it is what is committed, and has no token where the cloud keeps one',
    async (target) => {
      const files = filesOf(userDataOf(target));
      const own = Object.entries(files).filter(
        ([path]) => !/install\.sh$|cognitora-\w+\.service$/.test(path),
      );
      own.push(...Object.entries(files).filter(([path]) => path.endsWith('cognitora-join.service')));
      const text = own.map(([path, each]) => `==> ${path}\n${each}`).join('\n');
      await expect(text.replaceAll(joinToken, '<join token>')).toMatchFileSnapshot(
        `./plans/${target}-host.txt`,
      );
      expect(text.includes(joinToken)).toBe(target === 'hetzner');
      expect(Object.keys(files)).toContain('/usr/local/lib/cognitora/install.sh');
    },
  );

  test('it leaves half as much again for files of the user; what is too long is told before anything is made', () => {
    expect(Buffer.byteLength(userDataOf('aws'), 'base64')).toBeLessThan(11.5 * 1024);
    expect(userDataOf('hetzner').length).toBeLessThan(16 * 1024);
    const random = randomBytes(16 * 1024).toString('base64');
    expect(() => packedUserData(random)).toThrow('shorten setupFile or agentFile');
    const spec = { ...bareSpec, setup: randomBytes(32 * 1024).toString('base64') };
    expect(() => cloudInit(spec)).toThrow('of which a cloud takes 32768');
  });

  test.each(hosts)('in %s there is no kvcached where hosts share nothing', (target) => {
    const paths = Object.keys(filesOf(userDataOf(target, least))).join(' ');
    expect(paths).toContain('cognitora-agent.service');
    expect(paths).not.toContain('kvcached');
  });
});

describe('what stacks tell each other', () => {
  const bindingsOf = ({ resources }: Plan): unknown => {
    const bindings = resources.find(isA('WorkersScript'))?.inputs.bindings;
    return bindings instanceof SecretValue ? bindings.value : bindings;
  };
  const migrationsOf = ({ resources }: Plan): unknown =>
    resources.find(isA('WorkersScript'))?.inputs.migrations;

  test('the Worker is the bundle that wrangler would upload', () => {
    const bundle = readFileSync(new URL('../../edge/dist/worker.js', import.meta.url), 'utf8');
    const { content } = planIn(full, 'cloudflare').resources.find(isA('WorkersScript'))?.inputs ?? {};
    expect(content === bundle).toBe(true);
  });

  test('the regions of hosts become the edge’s, behind its own', () => {
    expect(bindingsOf(planIn(full, 'cloudflare'))).toContainEqual({
      type: 'plain_text',
      name: 'REGIONS',
      text: 'weur,enam',
    });
    expect(planIn(full, 'cloudflare').outputs.regions).toBe('weur,enam');
  });

  test('hosts find the edge by the name of its stack', async () => {
    const { edge: _, ...config } = leastConfig.aws;
    const plan = await planOfStack('aws', { ...config, edgeStack: 'acme/cognitora-cloudflare/prod' });
    expect(plan.outputs.edge).toBe('https://edge.example.com');
    const template = plan.resources.find(isA('LaunchTemplate'));
    const files = filesOf(String(template?.inputs.userData));
    const dropIn = files['/etc/systemd/system/cognitora-agent.service.d/10-fleet.conf'];
    expect(dropIn).toContain('COGNITORA_EDGE=https://edge.example.com\n');
  });

  test('migrations that the deployed Worker has been through are not sent again', async () => {
    const deployed = [{ id: 'cognitora-edge', migrationTag: 'v1' }];
    expect(migrationsOf(planIn(full, 'cloudflare'))).toEqual({
      newTag: 'v1',
      steps: [{ newSqliteClasses: ['Region', 'NodeLink', 'Registry'] }],
    });
    expect(migrationsOf(await planOfStack('cloudflare', leastConfig.cloudflare, { deployed }))).toBe(
      undefined,
    );
  });
});
