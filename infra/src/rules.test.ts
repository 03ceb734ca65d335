/** A plan that was changed for the worse breaks a rule, each that of which the mutation is. */
import { beforeAll, describe, expect, test } from 'vitest';
import { isA, type Plan, type Resource, rootDeviceName, SecretValue } from './testing/plan.ts';
import { brokenRules } from './testing/rules.ts';
import {
  fleetSecret,
  fullConfig,
  joinToken,
  openIn,
  planOfStack,
  secretTexts,
  type Target,
  targets,
} from './testing/stacks.ts';

const plans = new Map<Target, Plan>();
const planOf = (target: Target): Plan => {
  const plan = plans.get(target);
  if (plan === undefined) throw new Error(`no plan of ${target}`);
  return plan;
};

beforeAll(async () => {
  for (const target of targets) plans.set(target, await planOfStack(target, fullConfig[target]));
});

/** The full plan with one resource changed, or one more. */
const changed = (
  target: Target,
  match: (resource: Resource) => boolean,
  change: (inputs: Record<string, unknown>) => Record<string, unknown>,
): Plan => {
  const plan = planOf(target);
  let count = 0;
  const resources = plan.resources.map((resource) => {
    if (!match(resource)) return resource;
    count += 1;
    return { ...resource, inputs: change({ ...resource.inputs }) };
  });
  expect(count, `resources that were changed in ${target}`).toBeGreaterThan(0);
  return { ...plan, resources };
};
const withMore = (target: Target, type: string, inputs: Record<string, unknown>): Plan => {
  const plan = planOf(target);
  return { ...plan, resources: [...plan.resources, { type, name: 'more', inputs }] };
};
const without = (target: Target, name: string): Plan => {
  const plan = planOf(target);
  const resources = plan.resources.filter((resource) => resource.name !== name);
  expect(resources.length, `resources of ${target} but ${name}`).toBe(plan.resources.length - 1);
  return { ...plan, resources };
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
      'AWS puts hosts into a group that is not of the fleet',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({ ...inputs, vpcSecurityGroupIds: ['sg-other'] })),
      "fleet: a host must be in the fleet's security group and no other",
    ],
    [
      'AWS gives hosts interfaces that bring groups of their own',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({
          ...inputs,
          networkInterfaces: [{ securityGroups: ['sg-other'], associatePublicIpAddress: 'true' }],
        })),
      "fleet: a host must be in the fleet's security group and no other",
    ],
    [
      'AWS lets out every protocol',
      'aws',
      () => changed('aws', isA('SecurityGroupEgressRule'), (inputs) => ({ ...inputs, ipProtocol: '-1' })),
      'SecurityGroupEgressRule fleet-out-443 lets out more than one port',
    ],
    [
      'AWS lets out what a group itself says',
      'aws',
      () =>
        changed('aws', isA('SecurityGroup'), (inputs) => ({
          ...inputs,
          egress: [{ protocol: '-1', fromPort: 0, toPort: 0 }],
        })),
      'SecurityGroup fleet lets out more than one port',
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
      'Google has a host without an account, which no rule is for',
      'gcp',
      () =>
        changed('gcp', isA('RegionInstanceTemplate'), (inputs) => ({ ...inputs, serviceAccount: undefined })),
      'fleet: nothing denies a host to dial out to wherever it wants',
    ],
    [
      'Google does not deny what goes out',
      'gcp',
      () => without('gcp', 'fleet-out-else'),
      'fleet: nothing denies a host to dial out to wherever it wants',
    ],
    [
      'Google lets out every port',
      'gcp',
      () =>
        changed('gcp', isA('Firewall'), (inputs) =>
          inputs.direction === 'EGRESS' ? { ...inputs, allows: [{ protocol: 'all' }] } : inputs,
        ),
      'Firewall fleet-out lets out more than one port',
    ],
    [
      'Azure gives a host an address',
      'azure',
      () =>
        changed('azure', isA('LinuxVirtualMachineScaleSet'), ({ networkInterfaces, ...inputs }) => ({
          ...inputs,
          networkInterfaces: [networkInterfaces, { ipConfigurations: [{ publicIpAddresses: [{}] }] }].flat(),
        })),
      'LinuxVirtualMachineScaleSet fleet a host has a public address',
    ],
    [
      'Azure does not deny what goes out',
      'azure',
      () => without('azure', 'fleet-deny-outbound'),
      'nothing denies what Azure lets the members of a network do: Outbound',
    ],
    [
      'Azure lets out every port',
      'azure',
      () =>
        changed('azure', isA('NetworkSecurityRule'), (inputs) =>
          inputs.direction === 'Outbound' ? { ...inputs, destinationPortRange: '*' } : inputs,
        ),
      'NetworkSecurityRule fleet-out-443 lets out more than one port',
    ],
    [
      'Azure does not deny what its network lets in',
      'azure',
      () =>
        changed('azure', isA('NetworkSecurityRule'), (inputs) =>
          inputs.access === 'Deny' ? { ...inputs, access: 'Allow' } : inputs,
        ),
      'nothing denies what Azure lets the members of a network do: Inbound',
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
      'a role has the policy of administrators',
      'aws',
      () =>
        changed('aws', isA('Role'), (inputs) => ({
          ...inputs,
          managedPolicyArns: ['arn:aws:iam::aws:policy/AdministratorAccess'],
        })),
      'Role fleet a role has policies that are no resources of this plan',
    ],
    [
      'a role has a policy within itself',
      'aws',
      () =>
        changed('aws', isA('Role'), (inputs) => ({
          ...inputs,
          inlinePolicies: [{ policy: documentOf({ Action: '*', Resource: '*' }) }],
        })),
      'Role fleet a role has policies that are no resources of this plan',
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
          blockDeviceMappings: [
            { deviceName: rootDeviceName, ebs: { encrypted: 'true' } },
            { deviceName: '/dev/sdb', ebs: { encrypted: 'false' } },
          ],
        })),
      'LaunchTemplate fleet a disk is not encrypted',
    ],
    [
      'the one encrypted disk of AWS is not the root',
      'aws',
      () =>
        changed('aws', isA('LaunchTemplate'), (inputs) => ({
          ...inputs,
          blockDeviceMappings: [{ deviceName: '/dev/sdb', ebs: { encrypted: 'true' } }],
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
        const servers = planOf('hetzner').resources.filter(isA('Server'));
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
      () => ({ ...planOf('cloudflare'), outputs: { all: [`"${fleetSecret}"`] } }),
      'output.all.0 shows a secret',
    ],
  ];
  test.each([...ports, ...rights, ...stored])('%s', (_, target, plan, problem) => {
    const expected = { open: openIn[target], secrets: secretTexts };
    expect(brokenRules(plan(), expected)).toContain(problem);
  });
});
