/**
 * The rules that every plan keeps, whatever its stack: nothing comes in but what was asked for, everything that can be
 * tagged is, what is stored is encrypted, nobody may do everything, and secrets stay secret. A resource of a type that
 * is not in the table here breaks a rule by being there: whoever adds one says what it opens, stores and allows.
 */
import { type Plan, type Resource, SecretValue } from './plan.ts';
import { filesOf, userDataIn } from './readable.ts';

type Inputs = Readonly<Record<string, unknown>>;
type Rule = (resource: Resource) => readonly string[];

interface Kind {
  /** Where its tags are; undefined: the cloud gives it none. */
  readonly tags: 'tags' | 'labels' | 'list' | undefined;
  readonly rules?: readonly Rule[];
}

/** A secret or not: checks look inside, but for the one that is about secrets. */
const openly = (value: unknown): unknown => (value instanceof SecretValue ? value.value : value);
const tableOf = (value: unknown): Inputs => (openly(value) ?? {}) as Inputs;
const listOf = (value: unknown): readonly unknown[] => {
  const opened = openly(value);
  return Array.isArray(opened) ? opened : opened === undefined ? [] : [opened];
};
const textOf = (value: unknown): string => String(openly(value) ?? '');

const must =
  (isRight: (inputs: Inputs) => boolean, problem: string): Rule =>
  ({ inputs }) =>
    isRight(inputs) ? [] : [problem];

/** A policy document of AWS. */
const namesEachThing =
  (key: string): Rule =>
  ({ inputs }) => {
    const { Statement } = JSON.parse(textOf(inputs[key]) || '{}') as { Statement?: unknown };
    return listOf(Statement).flatMap((statement) =>
      Object.entries(tableOf(statement))
        .filter(([field]) => field !== 'Effect' && field !== 'Sid')
        .filter(([field, value]) => /^Not/.test(field) || JSON.stringify(value).includes('*'))
        .map(([field]) => `wildcard in ${field} of ${key}`),
    );
  };

const broadRoles = /(?:^|\/)(?:owner|editor|viewer|admin|contributor|user access administrator)$|admin$/i;
const isNarrowRole = (role: unknown): boolean => !broadRoles.test(textOf(role));
const everyone = /^(?:allUsers|allAuthenticatedUsers)$|\*/;

const rules = {
  awsDisks: must(({ blockDeviceMappings }) => {
    const disks = listOf(blockDeviceMappings).map((mapping) => tableOf(tableOf(mapping).ebs));
    return disks.length > 0 && disks.every(({ encrypted }) => encrypted === 'true');
  }, 'a disk is not encrypted'),
  awsMetadata: must(({ metadataOptions }) => {
    const { httpTokens, httpPutResponseHopLimit } = tableOf(metadataOptions);
    return httpTokens === 'required' && httpPutResponseHopLimit === 1;
  }, 'metadata are to be had without a session (IMDSv2) or from afar'),
  awsSecure: must(({ type }) => type === 'SecureString', 'a parameter is not a SecureString'),
  awsNoKey: must(({ keyName }) => keyName === undefined, 'a host has an SSH key'),
  azureDisks: must(
    ({ encryptionAtHostEnabled }) => encryptionAtHostEnabled === true,
    'a disk is not encrypted',
  ),
  azureGuarded: must(({ networkInterfaces }) => {
    const all = listOf(networkInterfaces).map(tableOf);
    return all.length > 0 && all.every(({ networkSecurityGroupId }) => networkSecurityGroupId !== undefined);
  }, 'a host without a security group'),
  azureNoPassword: must(
    ({ disablePasswordAuthentication, adminPassword }) =>
      disablePasswordAuthentication === true && adminPassword === undefined,
    'a host takes passwords',
  ),
  azureRole: must(
    ({ roleDefinitionName, roleDefinitionId }) =>
      roleDefinitionId === undefined && isNarrowRole(roleDefinitionName),
    'a role that may do everything',
  ),
  azureScope: must(
    ({ scope }) => !/^\/subscriptions\/[^/]+\/?$|^\/$/.test(textOf(scope)),
    'a role over the whole subscription',
  ),
  azureVault: must(
    ({ rbacAuthorizationEnabled, accessPolicies }) =>
      rbacAuthorizationEnabled === true && accessPolicies === undefined,
    'a vault with policies of its own',
  ),
  gcpMember: must(
    ({ role, member }) => isNarrowRole(role) && !everyone.test(textOf(member)),
    'a role that may do everything, or for everybody',
  ),
  noPublicAddress: must(({ networkInterfaces }) => {
    const all = listOf(networkInterfaces).map(tableOf);
    return all.every((each) => each.accessConfigs === undefined && each.ipv6AccessConfigs === undefined);
  }, 'a host has a public address'),
  closedDevAddress: must(
    ({ enabled, previewsEnabled }) => enabled === false && previewsEnabled === false,
    'the Worker answers at workers.dev, too',
  ),
};

/** Every type of resource that the stacks make. */
const kinds: Readonly<Record<string, Kind>> = {
  'aws:autoscaling/group:Group': { tags: 'list' },
  'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup': { tags: 'tags' },
  'aws:ec2/internetGateway:InternetGateway': { tags: 'tags' },
  'aws:ec2/launchTemplate:LaunchTemplate': {
    tags: 'tags',
    rules: [rules.awsDisks, rules.awsMetadata, rules.awsNoKey],
  },
  'aws:ec2/routeTable:RouteTable': { tags: 'tags' },
  'aws:ec2/routeTableAssociation:RouteTableAssociation': { tags: undefined },
  'aws:ec2/securityGroup:SecurityGroup': { tags: 'tags' },
  'aws:ec2/subnet:Subnet': { tags: 'tags' },
  'aws:ec2/vpc:Vpc': { tags: 'tags' },
  'aws:iam/instanceProfile:InstanceProfile': { tags: 'tags' },
  'aws:iam/role:Role': { tags: 'tags', rules: [namesEachThing('assumeRolePolicy')] },
  'aws:iam/rolePolicy:RolePolicy': { tags: undefined, rules: [namesEachThing('policy')] },
  'aws:ssm/parameter:Parameter': { tags: 'tags', rules: [rules.awsSecure] },
  'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule': { tags: 'tags' },
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule': { tags: 'tags' },
  'azure:authorization/assignment:Assignment': {
    tags: undefined,
    rules: [rules.azureRole, rules.azureScope],
  },
  'azure:authorization/userAssignedIdentity:UserAssignedIdentity': { tags: 'tags' },
  'azure:compute/linuxVirtualMachineScaleSet:LinuxVirtualMachineScaleSet': {
    tags: 'tags',
    rules: [rules.azureDisks, rules.azureGuarded, rules.azureNoPassword],
  },
  'azure:core/resourceGroup:ResourceGroup': { tags: 'tags' },
  'azure:keyvault/keyVault:KeyVault': { tags: 'tags', rules: [rules.azureVault] },
  'azure:keyvault/secret:Secret': { tags: 'tags' },
  'azure:network/applicationSecurityGroup:ApplicationSecurityGroup': { tags: 'tags' },
  'azure:network/natGateway:NatGateway': { tags: 'tags' },
  'azure:network/natGatewayPublicIpAssociation:NatGatewayPublicIpAssociation': { tags: undefined },
  'azure:network/networkSecurityGroup:NetworkSecurityGroup': { tags: 'tags' },
  'azure:network/networkSecurityRule:NetworkSecurityRule': { tags: undefined },
  'azure:network/publicIp:PublicIp': { tags: 'tags' },
  'azure:network/subnet:Subnet': { tags: undefined },
  'azure:network/subnetNatGatewayAssociation:SubnetNatGatewayAssociation': { tags: undefined },
  'azure:network/virtualNetwork:VirtualNetwork': { tags: 'tags' },
  // The Worker is one of a kind, and the provider has no tags for it.
  'cloudflare:index/workersCustomDomain:WorkersCustomDomain': { tags: undefined },
  'cloudflare:index/workersRoute:WorkersRoute': { tags: undefined },
  'cloudflare:index/workersScript:WorkersScript': { tags: undefined },
  'cloudflare:index/workersScriptSubdomain:WorkersScriptSubdomain': {
    tags: undefined,
    rules: [rules.closedDevAddress],
  },
  // Networks and their parts have no labels at Google's.
  'gcp:compute/firewall:Firewall': { tags: undefined },
  'gcp:compute/network:Network': { tags: undefined },
  'gcp:compute/regionInstanceGroupManager:RegionInstanceGroupManager': { tags: undefined },
  // Google encrypts every disk; there is no way to ask for one that is not.
  'gcp:compute/regionInstanceTemplate:RegionInstanceTemplate': {
    tags: 'labels',
    rules: [rules.noPublicAddress],
  },
  'gcp:compute/router:Router': { tags: undefined },
  'gcp:compute/routerNat:RouterNat': { tags: undefined },
  'gcp:compute/subnetwork:Subnetwork': { tags: undefined },
  'gcp:secretmanager/secret:Secret': { tags: 'labels' },
  'gcp:secretmanager/secretIamMember:SecretIamMember': { tags: undefined, rules: [rules.gcpMember] },
  'gcp:secretmanager/secretVersion:SecretVersion': { tags: undefined },
  'gcp:serviceaccount/account:Account': { tags: undefined },
  // Hetzner offers no encryption of a server's disk: nothing to check, and its README says so.
  'hcloud:index/firewall:Firewall': { tags: 'labels' },
  'hcloud:index/network:Network': { tags: 'labels' },
  'hcloud:index/networkSubnet:NetworkSubnet': { tags: undefined },
  'hcloud:index/placementGroup:PlacementGroup': { tags: 'labels' },
  'hcloud:index/server:Server': { tags: 'labels' },
};

const tagsOf = ({ inputs }: Resource, kind: Kind['tags']): Inputs => {
  if (kind === undefined) return {};
  if (kind !== 'list') return tableOf(inputs[kind]);
  return Object.fromEntries(listOf(inputs.tags).map((tag) => [textOf(tableOf(tag).key), tableOf(tag).value]));
};

const wantedTags = ['managed-by', 'project', 'stack'];

/** What comes in, by one resource: `protocol ports source`. */
const openings: Readonly<Record<string, (inputs: Inputs) => readonly string[]>> = {
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule': (inputs) => {
    const { securityGroupId, referencedSecurityGroupId, cidrIpv4, cidrIpv6, prefixListId } = inputs;
    const isOwn = referencedSecurityGroupId === securityGroupId;
    const source = isOwn ? 'the fleet' : (cidrIpv4 ?? cidrIpv6 ?? prefixListId ?? referencedSecurityGroupId);
    return [`${inputs.ipProtocol} ${inputs.fromPort}-${inputs.toPort} ${source}`];
  },
  'aws:ec2/securityGroup:SecurityGroup': ({ ingress }) => listOf(ingress).map((rule) => JSON.stringify(rule)),
  'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup': ({ ingress }) =>
    listOf(ingress).map((rule) => JSON.stringify(rule)),
  'azure:network/networkSecurityGroup:NetworkSecurityGroup': ({ securityRules }) =>
    listOf(securityRules).map((rule) => JSON.stringify(rule)),
  'azure:network/networkSecurityRule:NetworkSecurityRule': (inputs) => {
    if (inputs.direction !== 'Inbound' || inputs.access !== 'Allow') return [];
    const group = inputs.sourceApplicationSecurityGroupIds;
    const isOwn = group !== undefined && group === inputs.destinationApplicationSecurityGroupIds;
    const source = isOwn
      ? 'the fleet'
      : (inputs.sourceAddressPrefix ?? inputs.sourceAddressPrefixes ?? group);
    const [from = '', to = from] = textOf(inputs.destinationPortRange).split('-');
    const protocols = inputs.protocol === '*' ? ['tcp', 'udp'] : [textOf(inputs.protocol).toLowerCase()];
    return protocols.map((protocol) => `${protocol} ${from}-${to} ${source}`);
  },
  'gcp:compute/firewall:Firewall': (inputs) => {
    if (inputs.direction === 'EGRESS') return [];
    const own = JSON.stringify(inputs.sourceServiceAccounts);
    const isOwn = own !== undefined && own === JSON.stringify(inputs.targetServiceAccounts);
    const sources = isOwn ? ['the fleet'] : listOf(inputs.sourceRanges ?? inputs.sourceTags ?? 'anywhere');
    return listOf(inputs.allows).flatMap((allow) => {
      const { protocol, ports } = tableOf(allow);
      return listOf(ports ?? '0-65535').flatMap((each) => {
        const [from = '', to = from] = textOf(each).split('-');
        return sources.map((source) => `${protocol} ${from}-${to} ${source}`);
      });
    });
  },
  'hcloud:index/firewall:Firewall': ({ rules: all }) =>
    listOf(all)
      .map(tableOf)
      .filter(({ direction }) => direction === 'in')
      .flatMap(({ protocol, port, sourceIps }) => {
        const [from = '', to = from] = textOf(port).split('-');
        return listOf(sourceIps).map((source) => `${protocol} ${from}-${to} ${source}`);
      }),
};

/** All that a plan lets in, sorted. */
export const openingsOf = ({ resources }: Plan): readonly string[] =>
  resources.flatMap(({ type, inputs }) => openings[type]?.(inputs) ?? []).sort();

/** Where a plan keeps what guards a host: without it everything would come in. */
const guards: Readonly<Record<string, (plan: Plan) => readonly string[]>> = {
  azure: ({ resources }) =>
    resources.some(
      ({ inputs }) =>
        inputs.direction === 'Inbound' &&
        inputs.access === 'Deny' &&
        inputs.sourceAddressPrefix === '*' &&
        inputs.destinationAddressPrefix === '*' &&
        inputs.destinationPortRange === '*' &&
        inputs.protocol === '*',
    )
      ? []
      : ['nothing denies what Azure lets the members of a network do'],
  hetzner: ({ resources }) =>
    resources
      .filter(
        ({ type, inputs }) =>
          type === 'hcloud:index/server:Server' && listOf(inputs.firewallIds).length === 0,
      )
      .map(({ name }) => `${name}: a host without a firewall`),
  aws: ({ resources }) =>
    resources
      .filter(
        ({ type, inputs }) =>
          type === 'aws:ec2/launchTemplate:LaunchTemplate' && listOf(inputs.vpcSecurityGroupIds).length !== 1,
      )
      .map(({ name }) => `${name}: a host must be in the fleet's security group and no other`),
};

const filesWithin = (value: string): readonly string[] => {
  const userData = userDataIn(value);
  return userData?.includes('"write_files"') === true ? Object.values(filesOf(userData)) : [];
};

const leaksIn = (where: string, value: unknown, secrets: readonly string[]): readonly string[] => {
  if (value instanceof SecretValue) return [];
  if (typeof value === 'string') {
    const all = [value, userDataIn(value) ?? '', ...filesWithin(value)].join('\n');
    return secrets.some((secret) => all.includes(secret)) ? [`${where} shows a secret`] : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => leaksIn(`${where}.${key}`, each, secrets));
};

const problemsOf = (resource: Resource): readonly string[] => {
  const kind = kinds[resource.type];
  if (kind === undefined) return ['is of a type that no rule knows'];
  const tags = tagsOf(resource, kind.tags);
  const untagged = kind.tags === undefined ? [] : wantedTags.filter((tag) => tags[tag] === undefined);
  return [
    ...untagged.map((tag) => `has no tag ${tag}`),
    ...(kind.rules ?? []).flatMap((rule) => rule(resource)),
  ];
};

export interface Expected {
  /** Everything that may come in. */
  readonly open: readonly string[];
  /** Texts that nobody may see. */
  readonly secrets: readonly string[];
}

/** Everything in a plan that breaks a rule. */
export const brokenRules = (plan: Plan, { open, secrets }: Expected): readonly string[] => [
  ...plan.resources.flatMap((resource) => {
    const where = `${resource.type.split(':').at(-1)} ${resource.name}`;
    return [
      ...problemsOf(resource).map((problem) => `${where} ${problem}`),
      ...leaksIn(where, resource.inputs, secrets),
    ];
  }),
  ...openingsOf(plan)
    .filter((each) => !open.includes(each))
    .map((each) => `lets in: ${each}`),
  ...(guards[plan.target]?.(plan) ?? []),
  ...leaksIn('output', plan.outputs, secrets),
];
