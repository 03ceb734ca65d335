/**
 * A fleet on Google Cloud: a network of its own without an external address, the join token in Secret Manager, a
 * service account that reads that one secret, and a managed group of spot or on-demand hosts. Disks are encrypted by
 * Google always; `kmsKey` names a key of one's own.
 */
import { Firewall } from '@pulumi/gcp/compute/firewall.js';
import { Network } from '@pulumi/gcp/compute/network.js';
import { RegionInstanceGroupManager } from '@pulumi/gcp/compute/regionInstanceGroupManager.js';
import { RegionInstanceTemplate } from '@pulumi/gcp/compute/regionInstanceTemplate.js';
import { Router } from '@pulumi/gcp/compute/router.js';
import { RouterNat } from '@pulumi/gcp/compute/routerNat.js';
import { Subnetwork } from '@pulumi/gcp/compute/subnetwork.js';
import { Secret } from '@pulumi/gcp/secretmanager/secret.js';
import { SecretIamMember } from '@pulumi/gcp/secretmanager/secretIamMember.js';
import { SecretVersion } from '@pulumi/gcp/secretmanager/secretVersion.js';
import { Account } from '@pulumi/gcp/serviceaccount/account.js';
import * as pulumi from '@pulumi/pulumi';
import { type ConfigOf, integer, list, optionalText, text } from './config.ts';
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
import { peerPort } from './host/host-files.ts';
import type { TokenSource } from './host/token-source.ts';

const zonesMax = 4;
const gpusMax = 16;

export const gcpFields = {
  ...fleetFields,
  ...diskFields,
  gcpProject: text(
    { what: 'the project of Google Cloud, the same as gcp:project', example: 'my-project' },
    /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/,
    'the id of a project',
  ),
  gcpRegion: text(
    { what: 'the region of Google Cloud', example: 'europe-west4' },
    /^[a-z]+-[a-z]+\d{1,2}$/,
    'a region such as europe-west4',
  ),
  zones: list(
    { what: 'the zones in which hosts may start', example: 'europe-west4-a,europe-west4-b' },
    /^[a-z]+-[a-z]+\d{1,2}-[a-z]$/,
    'zones such as europe-west4-a',
    zonesMax,
  ),
  image: text(
    {
      what: 'an image of Ubuntu with NVIDIA drivers (and your engine)',
      example: 'projects/my-project/global/images/gpu',
    },
    /^(?:projects\/[\w-]+\/global\/images\/(?:family\/)?)[a-z0-9-]{1,63}$/,
    'projects/PROJECT/global/images/NAME or .../images/family/NAME',
  ),
  machineType: text(
    { what: 'the type of machine; those with A100, H100 or L4 bring their GPUs', example: 'g2-standard-8' },
    /^[a-z0-9]+-[a-z0-9-]+$/,
    'a machine type such as g2-standard-8',
  ),
  acceleratorType: optionalText(
    { what: 'GPUs for a machine type that brings none', example: 'nvidia-tesla-t4' },
    /^nvidia-[a-z0-9-]+$/,
    'the name of an accelerator such as nvidia-tesla-t4',
  ),
  acceleratorCount: integer({ what: 'how many of them', example: '1', otherwise: 1 }, 1, gpusMax),
  kmsKey: optionalText(
    {
      what: 'the key that encrypts disks, beside what Google does itself',
      example: 'projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k',
    },
    /^projects\/[\w-]+\/locations\/[\w-]+\/keyRings\/[\w-]+\/cryptoKeys\/[\w-]+$/,
    'the full name of a key of Cloud KMS',
  ),
} as const;

export type GcpConfig = ConfigOf<typeof gcpFields>;

/**
 * A network whose hosts have no external address and dial out by NAT. Google lets nothing in unless a rule says so; the
 * rules name the fleet's own service account, on both sides.
 */
export class GcpNetwork extends pulumi.ComponentResource {
  readonly subnetwork: pulumi.Output<string>;

  constructor(name: string, config: GcpConfig, account: pulumi.Output<string>, inbound: readonly Inbound[]) {
    super('cognitora:gcp:Network', name);
    const options = { parent: this };
    const network = new Network(name, { autoCreateSubnetworks: false }, options);
    const subnetwork = new Subnetwork(
      name,
      {
        network: network.id,
        region: config.gcpRegion,
        ipCidrRange: '10.64.0.0/20',
        privateIpGoogleAccess: true,
      },
      options,
    );
    this.subnetwork = subnetwork.id;
    const router = new Router(name, { network: network.id, region: config.gcpRegion }, options);
    new RouterNat(
      name,
      {
        router: router.name,
        region: config.gcpRegion,
        natIpAllocateOption: 'AUTO_ONLY',
        sourceSubnetworkIpRangesToNat: 'LIST_OF_SUBNETWORKS',
        subnetworks: [{ name: subnetwork.id, sourceIpRangesToNats: ['ALL_IP_RANGES'] }],
      },
      options,
    );
    this.#outgoing(name, config, network.id, account);
    if (config.peers) this.#peers(name, network.id, account);
    for (const entry of inbound) {
      const { protocol, fromPort, toPort, cidr } = entry;
      new Firewall(
        `${name}-${nameOfInbound(entry)}`,
        {
          network: network.id,
          direction: 'INGRESS',
          targetServiceAccounts: [account],
          sourceRanges: [cidr],
          allows: [{ protocol, ports: [fromPort === toPort ? `${fromPort}` : `${fromPort}-${toPort}`] }],
          description: 'Asked for by the configuration key inbound',
        },
        options,
      );
    }
    this.registerOutputs({});
  }

  /** Google lets all out: a rule of the least priority takes that back. */
  #outgoing(
    name: string,
    config: GcpConfig,
    network: pulumi.Output<string>,
    account: pulumi.Output<string>,
  ): void {
    const rule = { network, direction: 'EGRESS', targetServiceAccounts: [account] };
    const all = ['0.0.0.0/0'];
    const ports = outgoingPorts(config).map(String);
    new Firewall(
      `${name}-out`,
      { ...rule, priority: 1000, destinationRanges: all, allows: [{ protocol: 'tcp', ports }] },
      { parent: this },
    );
    new Firewall(
      `${name}-out-else`,
      { ...rule, priority: 65_000, destinationRanges: all, denies: [{ protocol: 'all' }] },
      { parent: this },
    );
  }

  #peers(name: string, network: pulumi.Output<string>, account: pulumi.Output<string>): void {
    const ports = [String(peerPort)];
    const allows = [
      { protocol: 'tcp', ports },
      { protocol: 'udp', ports },
    ];
    new Firewall(
      `${name}-peers`,
      {
        network,
        direction: 'INGRESS',
        targetServiceAccounts: [account],
        sourceServiceAccounts: [account],
        allows,
        description: 'KV between hosts of this fleet',
      },
      { parent: this },
    );
    new Firewall(
      `${name}-out-peers`,
      {
        network,
        direction: 'EGRESS',
        targetServiceAccounts: [account],
        destinationRanges: ['10.64.0.0/20'],
        allows,
        description: 'KV between hosts of this fleet',
      },
      { parent: this },
    );
  }
}

/** Of a service account: 6 to 30 lower-case letters, digits and dashes, as Google asks; a stack's may have more. */
export const accountIdOf = (stack: string): string =>
  `cognitora-${stack.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`.slice(0, 30).replace(/-$/, '');

/** The join token in Secret Manager, and the account of hosts, which may read it and do nothing else. */
export class GcpJoinToken extends pulumi.ComponentResource {
  readonly source: pulumi.Output<TokenSource>;
  readonly account: pulumi.Output<string>;

  constructor(name: string, config: GcpConfig) {
    super('cognitora:gcp:JoinToken', name);
    const options = { parent: this };
    const secretId = `cognitora-${pulumi.getStack()}-join-token`;
    const secret = new Secret(
      name,
      {
        secretId,
        labels: tagsOf(),
        replication: { userManaged: { replicas: [{ location: config.gcpRegion }] } },
      },
      options,
    );
    const secretData = pulumi.secret(config.joinToken);
    const version = new SecretVersion(name, { secret: secret.id, secretData }, options);
    const account = new Account(
      name,
      {
        accountId: accountIdOf(pulumi.getStack()),
        displayName: 'Hosts of the Cognitora fleet: they read their join token',
      },
      options,
    );
    this.account = account.email;
    new SecretIamMember(
      name,
      {
        secretId: secret.id,
        role: 'roles/secretmanager.secretAccessor',
        member: pulumi.interpolate`serviceAccount:${account.email}`,
      },
      options,
    );
    // A host is made only once there is a token for it.
    this.source = pulumi
      .all([secret.secretId, version.id])
      .apply(([own]): TokenSource => ({ kind: 'gcp', project: config.gcpProject, secret: own }));
    this.registerOutputs({});
  }
}

interface GcpHosts {
  readonly config: GcpConfig;
  readonly network: GcpNetwork;
  readonly token: GcpJoinToken;
  readonly userData: pulumi.Output<string>;
}

/** A host with GPUs cannot be moved while it runs, and one that is taken away is not stopped but gone. */
const schedulingOf = ({ market }: GcpConfig) =>
  market === 'spot'
    ? {
        provisioningModel: 'SPOT',
        preemptible: true,
        automaticRestart: false,
        instanceTerminationAction: 'DELETE',
        onHostMaintenance: 'TERMINATE',
      }
    : { provisioningModel: 'STANDARD', automaticRestart: true, onHostMaintenance: 'TERMINATE' };

const templateOf = (
  parent: GcpFleet,
  name: string,
  { config, network, token, userData }: GcpHosts,
): RegionInstanceTemplate => {
  const { acceleratorType, acceleratorCount, kmsKey } = config;
  return new RegionInstanceTemplate(
    name,
    {
      region: config.gcpRegion,
      machineType: config.machineType,
      labels: tagsOf(),
      disks: [
        {
          boot: true,
          autoDelete: true,
          sourceImage: config.image,
          diskType: 'pd-balanced',
          diskSizeGb: config.diskGb,
          labels: tagsOf(),
          ...(kmsKey === undefined ? {} : { diskEncryptionKey: { kmsKeySelfLink: kmsKey } }),
        },
      ],
      ...(acceleratorType === undefined
        ? {}
        : { guestAccelerators: [{ type: acceleratorType, count: acceleratorCount }] }),
      // Without an access configuration it has no external address.
      networkInterfaces: [{ subnetwork: network.subnetwork }],
      scheduling: schedulingOf(config),
      // What the account may do is said by its one role; scopes are the older way.
      serviceAccount: { email: token.account, scopes: ['cloud-platform'] },
      shieldedInstanceConfig: { enableVtpm: true, enableIntegrityMonitoring: true },
      metadata: { 'user-data': userData, 'block-project-ssh-keys': 'TRUE', 'serial-port-enable': 'FALSE' },
    },
    { parent },
  );
};

/** As many hosts as were asked for, over the zones that have them. */
export class GcpFleet extends pulumi.ComponentResource {
  constructor(name: string, hosts: GcpHosts) {
    super('cognitora:gcp:Fleet', name);
    const { config } = hosts;
    const template = templateOf(this, name, hosts);
    new RegionInstanceGroupManager(
      name,
      {
        region: config.gcpRegion,
        baseInstanceName: `cognitora-${name}`,
        distributionPolicyZones: [...config.zones],
        // Where GPUs are, whatever the balance between zones.
        distributionPolicyTargetShape: 'ANY',
        targetSize: config.hosts,
        versions: [{ instanceTemplate: template.selfLink }],
        updatePolicy: {
          type: 'OPPORTUNISTIC',
          minimalAction: 'REPLACE',
          instanceRedistributionType: 'NONE',
          maxUnavailableFixed: config.zones.length,
        },
        waitForInstances: false,
      },
      { parent: this },
    );
    this.registerOutputs({});
  }
}

export const gcpStack = (given: FleetArguments<GcpConfig>): FleetOutputs => {
  const { config } = given;
  const inbound = inboundOf(config);
  const edge = edgeOf(config);
  const token = new GcpJoinToken('fleet', config);
  const network = new GcpNetwork('fleet', config, token.account, inbound);
  const userData = userDataOf(hostOf(given, edge, token.source));
  new GcpFleet('fleet', { config, network, token, userData });
  return outputsOf(config, edge);
};
