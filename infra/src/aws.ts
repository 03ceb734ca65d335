/**
 * A fleet on AWS: a network that lets nothing in, the join token in Systems Manager, a role that reads that one
 * parameter, and an autoscaling group of spot or on-demand hosts. No SSH key, no load balancer, no public service.
 */
import { Group } from '@pulumi/aws/autoscaling/group.js';
import { DefaultSecurityGroup } from '@pulumi/aws/ec2/defaultSecurityGroup.js';
import { getAmiOutput } from '@pulumi/aws/ec2/getAmi.js';
import { InternetGateway } from '@pulumi/aws/ec2/internetGateway.js';
import { LaunchTemplate } from '@pulumi/aws/ec2/launchTemplate.js';
import { RouteTable } from '@pulumi/aws/ec2/routeTable.js';
import { RouteTableAssociation } from '@pulumi/aws/ec2/routeTableAssociation.js';
import { SecurityGroup } from '@pulumi/aws/ec2/securityGroup.js';
import { Subnet } from '@pulumi/aws/ec2/subnet.js';
import { Vpc } from '@pulumi/aws/ec2/vpc.js';
import { InstanceProfile } from '@pulumi/aws/iam/instanceProfile.js';
import { Role } from '@pulumi/aws/iam/role.js';
import { RolePolicy } from '@pulumi/aws/iam/rolePolicy.js';
import { Parameter } from '@pulumi/aws/ssm/parameter.js';
import { SecurityGroupEgressRule } from '@pulumi/aws/vpc/securityGroupEgressRule.js';
import { SecurityGroupIngressRule } from '@pulumi/aws/vpc/securityGroupIngressRule.js';
import * as pulumi from '@pulumi/pulumi';
import { type ConfigOf, list, text } from './config.ts';
import {
  edgeOf,
  type FleetArguments,
  type FleetOutputs,
  hostOf,
  outgoingPorts,
  outputsOf,
  tagsOf,
  userDataOf,
} from './fleet.ts';
import { diskFields, fleetFields, type Inbound, inboundOf, nameOfInbound } from './fleet-config.ts';
import { packedUserData } from './host/cloud-init.ts';
import { peerPort } from './host/host-files.ts';
import type { TokenSource } from './host/token-source.ts';

const zonesMax = 6;
const instanceTypesMax = 20;

export const awsFields = {
  ...fleetFields,
  ...diskFields,
  awsRegion: text(
    { what: 'the region of AWS, the same as aws:region', example: 'eu-west-1' },
    /^[a-z]{2}(?:-[a-z]+)+-\d$/,
    'a region of AWS such as eu-west-1',
  ),
  zones: list(
    { what: 'the zones in which hosts may start', example: 'eu-west-1a,eu-west-1b' },
    /^[a-z]{2}(?:-[a-z]+)+-\d[a-z]$/,
    'zones such as eu-west-1a',
    zonesMax,
  ),
  image: text(
    {
      what: 'an image of Ubuntu or Debian with NVIDIA drivers (and your engine)',
      example: 'ami-0123456789abcdef0',
    },
    /^ami-[0-9a-f]{8,17}$/,
    'the id of an image, ami-...',
  ),
  instanceTypes: list(
    { what: 'the types of hosts, the most wanted first', example: 'g6.2xlarge,g5.2xlarge' },
    /^[a-z0-9-]+\.[a-z0-9-]+$/,
    'types of instances such as g6.2xlarge',
    instanceTypesMax,
  ),
} as const;

export type AwsConfig = ConfigOf<typeof awsFields>;

const anywhere = '0.0.0.0/0';

/** A VPC whose subnets reach out, and a security group that lets in the fleet's peers and what the user asks for. */
export class AwsNetwork extends pulumi.ComponentResource {
  readonly subnets: readonly pulumi.Output<string>[];
  readonly securityGroup: pulumi.Output<string>;

  constructor(name: string, config: AwsConfig, inbound: readonly Inbound[]) {
    super('cognitora:aws:Network', name);
    const options = { parent: this };
    const tags = { ...tagsOf(), Name: name };
    const vpc = new Vpc(
      name,
      { cidrBlock: '10.64.0.0/16', enableDnsHostnames: true, enableDnsSupport: true, tags },
      options,
    );
    // What a VPC is made with lets its members talk to each other: nobody is one, and now it lets in nothing.
    new DefaultSecurityGroup(`${name}-default`, { vpcId: vpc.id, ingress: [], egress: [], tags }, options);
    const gateway = new InternetGateway(name, { vpcId: vpc.id, tags }, options);
    const routes = [{ cidrBlock: anywhere, gatewayId: gateway.id }];
    const table = new RouteTable(name, { vpcId: vpc.id, routes, tags }, options);
    this.subnets = config.zones.map((availabilityZone, index) => {
      const subnet = new Subnet(
        `${name}-${availabilityZone}`,
        {
          vpcId: vpc.id,
          availabilityZone,
          cidrBlock: `10.64.${16 * index}.0/20`,
          // A public address to dial out with: a NAT gateway costs by the hour and by the byte of each model.
          mapPublicIpOnLaunch: true,
          tags,
        },
        options,
      );
      const association = { subnetId: subnet.id, routeTableId: table.id };
      new RouteTableAssociation(`${name}-${availabilityZone}`, association, options);
      return subnet.id;
    });
    const description = 'Hosts of the fleet: nothing comes in but from their peers';
    const group = new SecurityGroup(name, { vpcId: vpc.id, description, tags }, options);
    this.securityGroup = group.id;
    this.#outgoing(name, config, group.id, tags);
    if (config.peers) this.#peers(name, group.id, tags);
    for (const entry of inbound) {
      const { protocol, fromPort, toPort, cidr } = entry;
      new SecurityGroupIngressRule(
        `${name}-${nameOfInbound(entry)}`,
        {
          securityGroupId: group.id,
          ipProtocol: protocol,
          fromPort,
          toPort,
          cidrIpv4: cidr,
          description: 'Asked for by the configuration key inbound',
          tags,
        },
        options,
      );
    }
    this.registerOutputs({});
  }

  #outgoing(
    name: string,
    config: AwsConfig,
    securityGroupId: pulumi.Output<string>,
    tags: Readonly<Record<string, string>>,
  ): void {
    for (const port of outgoingPorts(config)) {
      new SecurityGroupEgressRule(
        `${name}-out-${port}`,
        { securityGroupId, ipProtocol: 'tcp', fromPort: port, toPort: port, cidrIpv4: anywhere, tags },
        { parent: this },
      );
    }
  }

  #peers(name: string, securityGroupId: pulumi.Output<string>, tags: Readonly<Record<string, string>>): void {
    for (const ipProtocol of ['tcp', 'udp']) {
      const rule = {
        securityGroupId,
        referencedSecurityGroupId: securityGroupId,
        ipProtocol,
        fromPort: peerPort,
        toPort: peerPort,
        description: 'KV between hosts of this fleet',
        tags,
      };
      new SecurityGroupIngressRule(`${name}-peers-${ipProtocol}`, rule, { parent: this });
      new SecurityGroupEgressRule(`${name}-peers-${ipProtocol}`, rule, { parent: this });
    }
  }
}

/** The join token as a SecureString, and a role of hosts that may read it and do nothing else. */
export class AwsJoinToken extends pulumi.ComponentResource {
  readonly source: pulumi.Output<TokenSource>;
  readonly profileArn: pulumi.Output<string>;

  constructor(name: string, config: AwsConfig) {
    super('cognitora:aws:JoinToken', name);
    const options = { parent: this };
    const tags = tagsOf();
    const parameter = new Parameter(
      name,
      {
        name: `/cognitora/${pulumi.getStack()}/join-token`,
        description: 'With this a new host joins the fleet',
        // Encrypted with the account's own key for Systems Manager, whose use this permission includes.
        type: 'SecureString',
        value: pulumi.secret(config.joinToken),
        tags,
      },
      options,
    );
    const role = new Role(
      name,
      {
        description: 'Hosts of the fleet: they read their join token',
        assumeRolePolicy: JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            { Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } },
          ],
        }),
        tags,
      },
      options,
    );
    const policy = parameter.arn.apply((arn) =>
      JSON.stringify({
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Action: 'ssm:GetParameter', Resource: arn }],
      }),
    );
    new RolePolicy(name, { role: role.name, policy }, options);
    this.profileArn = new InstanceProfile(name, { role: role.name, tags }, options).arn;
    this.source = parameter.name.apply(
      (own): TokenSource => ({ kind: 'aws', parameter: own, region: config.awsRegion }),
    );
    this.registerOutputs({});
  }
}

/** Images differ in it: Ubuntu's /dev/sda1, Debian's /dev/xvda. By another name the disk would not be the root. */
const rootDeviceOf = (parent: AwsFleet, image: string): pulumi.Output<string> =>
  getAmiOutput({ filters: [{ name: 'image-id', values: [image] }], includeDeprecated: true }, { parent })
    .rootDeviceName;

/** How every host is: encrypted disks, no metadata without a session, no address from which it could be reached. */
const templateOf = (
  parent: AwsFleet,
  name: string,
  { config, network, token, userData }: AwsHosts,
): LaunchTemplate => {
  const tags = { ...tagsOf(), Name: name };
  return new LaunchTemplate(
    name,
    {
      imageId: config.image,
      instanceType: config.instanceTypes[0],
      iamInstanceProfile: { arn: token.profileArn },
      vpcSecurityGroupIds: [network.securityGroup],
      userData: userData.apply(packedUserData),
      updateDefaultVersion: true,
      // One hop: what runs in a container on the host does not get there.
      metadataOptions: { httpEndpoint: 'enabled', httpTokens: 'required', httpPutResponseHopLimit: 1 },
      blockDeviceMappings: [
        {
          deviceName: rootDeviceOf(parent, config.image),
          ebs: {
            encrypted: 'true',
            volumeType: 'gp3',
            volumeSize: config.diskGb,
            deleteOnTermination: 'true',
          },
        },
      ],
      tagSpecifications: ['instance', 'volume', 'network-interface'].map((resourceType) => ({
        resourceType,
        tags,
      })),
      tags,
    },
    { parent },
  );
};

interface AwsHosts {
  readonly config: AwsConfig;
  readonly network: AwsNetwork;
  readonly token: AwsJoinToken;
  readonly userData: pulumi.Output<string>;
}

/** As many hosts as were asked for, of the first type that is to be had. */
export class AwsFleet extends pulumi.ComponentResource {
  constructor(name: string, hosts: AwsHosts) {
    super('cognitora:aws:Fleet', name);
    const { config, network } = hosts;
    const template = templateOf(this, name, hosts);
    const isSpot = config.market === 'spot';
    new Group(
      name,
      {
        minSize: config.hosts,
        maxSize: config.hosts,
        desiredCapacity: config.hosts,
        vpcZoneIdentifiers: [...network.subnets],
        // A spot host that is about to be taken away is replaced before it is gone.
        capacityRebalance: isSpot,
        mixedInstancesPolicy: {
          launchTemplate: {
            launchTemplateSpecification: { launchTemplateId: template.id, version: '$Latest' },
            overrides: config.instanceTypes.map((instanceType) => ({ instanceType })),
          },
          instancesDistribution: {
            onDemandPercentageAboveBaseCapacity: isSpot ? 0 : 100,
            onDemandAllocationStrategy: 'prioritized',
            spotAllocationStrategy: 'price-capacity-optimized',
          },
        },
        tags: Object.entries({ ...tagsOf(), Name: name }).map(([key, value]) => ({
          key,
          value,
          propagateAtLaunch: true,
        })),
        // Hosts may wait hours for capacity; the group goes on by itself.
        waitForCapacityTimeout: '0',
      },
      { parent: this },
    );
    this.registerOutputs({});
  }
}

export const awsStack = (given: FleetArguments<AwsConfig>): FleetOutputs => {
  const { config } = given;
  const inbound = inboundOf(config);
  const edge = edgeOf(config);
  const network = new AwsNetwork('fleet', config, inbound);
  const token = new AwsJoinToken('fleet', config);
  const userData = userDataOf(hostOf(given, edge, token.source));
  new AwsFleet('fleet', { config, network, token, userData });
  return outputsOf(config, edge);
};
