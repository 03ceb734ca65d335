/**
 * The rules that every plan keeps, whatever its stack: nothing comes in but what was asked for, everything that can be
 * tagged is, what is stored is encrypted, nobody may do everything, and secrets stay secret. A resource of a type that
 * is not in the table here breaks a rule by being there: whoever adds one says what it opens, stores and allows.
 */
import { idOf, type Plan, type Resource, rootDeviceName, SecretValue } from './plan.ts';
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

const publicAddress = 'a host has a public address';
const letsOut = 'lets out more than one port';

const rules = {
  awsDisks: must(({ blockDeviceMappings }) => {
    const disks = listOf(blockDeviceMappings).map(tableOf);
    const hasRoot = disks.some(({ deviceName }) => deviceName === rootDeviceName);
    return hasRoot && disks.every(({ ebs }) => tableOf(ebs).encrypted === 'true');
  }, 'a disk is not encrypted'),
  awsNoOtherPolicies: must(
    ({ managedPolicyArns, inlinePolicies }) =>
      listOf(managedPolicyArns).length + listOf(inlinePolicies).length === 0,
    'a role has policies that are no resources of this plan',
  ),
  awsNarrowOut: must(
    ({ ipProtocol, fromPort, toPort }) =>
      (ipProtocol === 'tcp' || ipProtocol === 'udp') && fromPort !== undefined && fromPort === toPort,
    letsOut,
  ),
  awsNoOwnEgress: must(({ egress }) => listOf(egress).length === 0, letsOut),
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
  azureNoAddress: must(({ networkInterfaces }) => {
    const all = listOf(networkInterfaces).flatMap((each) => listOf(tableOf(each).ipConfigurations));
    return all.every((each) => tableOf(each).publicIpAddresses === undefined);
  }, publicAddress),
  azureNarrowOut: must(
    ({ direction, access, destinationPortRange }) =>
      direction !== 'Outbound' || access !== 'Allow' || /^\d+$/.test(textOf(destinationPortRange)),
    letsOut,
  ),
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
  }, publicAddress),
  gcpNarrowOut: must(
    ({ direction, allows }) =>
      direction !== 'EGRESS' || listOf(allows).every((each) => listOf(tableOf(each).ports).length > 0),
    letsOut,
  ),
  closedDevAddress: must(
    ({ enabled, previewsEnabled }) => enabled === false && previewsEnabled === false,
    'the Worker answers at workers.dev, too',
  ),
};

/** Every type of resource that the stacks make. */
const kinds: Readonly<Record<string, Kind>> = {
  'aws:autoscaling/group:Group': { tags: 'list' },
  'aws:ec2/defaultSecurityGroup:DefaultSecurityGroup': { tags: 'tags', rules: [rules.awsNoOwnEgress] },
  'aws:ec2/internetGateway:InternetGateway': { tags: 'tags' },
  'aws:ec2/launchTemplate:LaunchTemplate': {
    tags: 'tags',
    rules: [rules.awsDisks, rules.awsMetadata, rules.awsNoKey],
  },
  'aws:ec2/routeTable:RouteTable': { tags: 'tags' },
  'aws:ec2/routeTableAssociation:RouteTableAssociation': { tags: undefined },
  'aws:ec2/securityGroup:SecurityGroup': { tags: 'tags', rules: [rules.awsNoOwnEgress] },
  'aws:ec2/subnet:Subnet': { tags: 'tags' },
  'aws:ec2/vpc:Vpc': { tags: 'tags' },
  'aws:iam/instanceProfile:InstanceProfile': { tags: 'tags' },
  'aws:iam/role:Role': {
    tags: 'tags',
    rules: [namesEachThing('assumeRolePolicy'), rules.awsNoOtherPolicies],
  },
  'aws:iam/rolePolicy:RolePolicy': { tags: undefined, rules: [namesEachThing('policy')] },
  'aws:ssm/parameter:Parameter': { tags: 'tags', rules: [rules.awsSecure] },
  'aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule': {
    tags: 'tags',
    rules: [rules.awsNarrowOut],
  },
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule': { tags: 'tags' },
  'azure:authorization/assignment:Assignment': {
    tags: undefined,
    rules: [rules.azureRole, rules.azureScope],
  },
  'azure:authorization/userAssignedIdentity:UserAssignedIdentity': { tags: 'tags' },
  'azure:compute/linuxVirtualMachineScaleSet:LinuxVirtualMachineScaleSet': {
    tags: 'tags',
    rules: [rules.azureDisks, rules.azureGuarded, rules.azureNoAddress, rules.azureNoPassword],
  },
  'azure:core/resourceGroup:ResourceGroup': { tags: 'tags' },
  'azure:keyvault/keyVault:KeyVault': { tags: 'tags', rules: [rules.azureVault] },
  'azure:keyvault/secret:Secret': { tags: 'tags' },
  'azure:network/applicationSecurityGroup:ApplicationSecurityGroup': { tags: 'tags' },
  'azure:network/natGateway:NatGateway': { tags: 'tags' },
  'azure:network/natGatewayPublicIpAssociation:NatGatewayPublicIpAssociation': { tags: undefined },
  'azure:network/networkSecurityGroup:NetworkSecurityGroup': { tags: 'tags' },
  'azure:network/networkSecurityRule:NetworkSecurityRule': {
    tags: undefined,
    rules: [rules.azureNarrowOut],
  },
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
  'gcp:compute/firewall:Firewall': { tags: undefined, rules: [rules.gcpNarrowOut] },
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

/** Azure's rule of one direction that denies everything. */
const deniesAll =
  (direction: 'Inbound' | 'Outbound') =>
  ({ inputs }: Resource): boolean =>
    inputs.direction === direction &&
    inputs.access === 'Deny' &&
    inputs.sourceAddressPrefix === '*' &&
    inputs.destinationAddressPrefix === '*' &&
    inputs.destinationPortRange === '*' &&
    inputs.protocol === '*';

/** Google's rule that denies the hosts of that account what no other rule lets out. */
const deniesOut =
  (account: string) =>
  ({ type, inputs }: Resource): boolean =>
    type === 'gcp:compute/firewall:Firewall' &&
    inputs.direction === 'EGRESS' &&
    inputs.disabled !== true &&
    listOf(inputs.destinationRanges).includes('0.0.0.0/0') &&
    listOf(inputs.denies).some((each) => tableOf(each).protocol === 'all') &&
    listOf(inputs.targetServiceAccounts).includes(account);

const isOfType =
  (type: string) =>
  (resource: Resource): boolean =>
    resource.type === type;

/** Where a plan keeps what guards a host: without it everything would come in, or go out. */
const guards: Readonly<Record<string, (plan: Plan) => readonly string[]>> = {
  azure: ({ resources }) =>
    (['Inbound', 'Outbound'] as const)
      .filter((direction) => !resources.some(deniesAll(direction)))
      .map((direction) => `nothing denies what Azure lets the members of a network do: ${direction}`),
  hetzner: ({ resources }) =>
    resources
      .filter(isOfType('hcloud:index/server:Server'))
      .filter(({ inputs }) => listOf(inputs.firewallIds).length === 0)
      .map(({ name }) => `${name}: a host without a firewall`),
  aws: ({ resources }) => {
    const groups = resources.filter(isOfType('aws:ec2/securityGroup:SecurityGroup'));
    const own = JSON.stringify(groups.map(({ type, name }) => idOf(type, name)));
    return resources
      .filter(isOfType('aws:ec2/launchTemplate:LaunchTemplate'))
      .filter(
        ({ inputs }) =>
          groups.length !== 1 ||
          JSON.stringify(inputs.vpcSecurityGroupIds) !== own ||
          // They would have groups and addresses of their own.
          inputs.networkInterfaces !== undefined ||
          inputs.securityGroupNames !== undefined,
      )
      .map(({ name }) => `${name}: a host must be in the fleet's security group and no other`);
  },
  // Rules are for the hosts of an account: one without it would be under none.
  gcp: ({ resources }) =>
    resources
      .filter(isOfType('gcp:compute/regionInstanceTemplate:RegionInstanceTemplate'))
      .filter(({ inputs }) => !resources.some(deniesOut(textOf(tableOf(inputs.serviceAccount).email))))
      .map(({ name }) => `${name}: nothing denies a host to dial out to wherever it wants`),
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
