/**
 * A fleet on Azure: a network that lets nothing in, the join token in a Key Vault, an identity that reads that one
 * secret, and a scale set of spot or regular hosts whose disks are encrypted at the host.
 */
import { Assignment } from '@pulumi/azure/authorization/assignment.js';
import { UserAssignedIdentity } from '@pulumi/azure/authorization/userAssignedIdentity.js';
import { LinuxVirtualMachineScaleSet } from '@pulumi/azure/compute/linuxVirtualMachineScaleSet.js';
import { getClientConfigOutput } from '@pulumi/azure/core/getClientConfig.js';
import { ResourceGroup } from '@pulumi/azure/core/resourceGroup.js';
import { KeyVault } from '@pulumi/azure/keyvault/keyVault.js';
import { Secret } from '@pulumi/azure/keyvault/secret.js';
import { ApplicationSecurityGroup } from '@pulumi/azure/network/applicationSecurityGroup.js';
import { NatGateway } from '@pulumi/azure/network/natGateway.js';
import { NatGatewayPublicIpAssociation } from '@pulumi/azure/network/natGatewayPublicIpAssociation.js';
import { NetworkSecurityGroup } from '@pulumi/azure/network/networkSecurityGroup.js';
import { NetworkSecurityRule } from '@pulumi/azure/network/networkSecurityRule.js';
import { PublicIp } from '@pulumi/azure/network/publicIp.js';
import { Subnet } from '@pulumi/azure/network/subnet.js';
import { SubnetNatGatewayAssociation } from '@pulumi/azure/network/subnetNatGatewayAssociation.js';
import { VirtualNetwork } from '@pulumi/azure/network/virtualNetwork.js';
import * as pulumi from '@pulumi/pulumi';
import { type ConfigOf, text } from './config.ts';
import {
  base64Of,
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

export const azureFields = {
  ...fleetFields,
  ...diskFields,
  location: text(
    { what: 'the region of Azure', example: 'westeurope' },
    /^[a-z0-9]{3,40}$/,
    'a region of Azure such as westeurope',
  ),
  image: text(
    {
      what: 'an image of Ubuntu with NVIDIA drivers (and your engine)',
      example: '/subscriptions/.../images/gpu',
    },
    /^\/subscriptions\/[^\s'"]+\/(?:images|versions)\/[^\s'"/]+$/,
    'the full id of an image or of a version in a gallery: /subscriptions/.../images/NAME',
  ),
  vmSize: text(
    { what: 'the size of hosts', example: 'Standard_NC24ads_A100_v4' },
    /^Standard_[A-Za-z0-9_]+$/,
    'a size such as Standard_NC24ads_A100_v4',
  ),
  sshPublicKey: text(
    {
      what: 'a public key, which Azure wants though no port for it is open',
      example: 'ssh-ed25519 AAAA... you',
    },
    /^(?:ssh-ed25519|ssh-rsa) [A-Za-z0-9+/=]+(?: [^\n]*)?$/,
    'a public key as in id_ed25519.pub',
  ),
} as const;

export type AzureConfig = ConfigOf<typeof azureFields>;

interface Place {
  readonly resourceGroupName: pulumi.Output<string>;
  readonly location: string;
}

const anywhere = '*';
const subnetRange = '10.64.0.0/20';
/** Azure's own rules begin at 65000 and let a network's members talk to each other: ours deny that before. */
const denyPriority = 4096;
const outgoingPriority = 1000;
const peersPriority = 200;
const askedPriority = 300;

/** A network whose subnet dials out by NAT, and rules that let in the peers of the fleet and what the user asks for. */
export class AzureNetwork extends pulumi.ComponentResource {
  readonly subnet: pulumi.Output<string>;
  /** What a host is in, so that rules can name the fleet. */
  readonly fleetGroup: pulumi.Output<string>;
  /** What guards a host. */
  readonly securityGroup: pulumi.Output<string>;
  readonly #name: string;
  readonly #place: Place;
  readonly #securityGroup: NetworkSecurityGroup;

  constructor(name: string, config: AzureConfig, place: Place, inbound: readonly Inbound[]) {
    super('cognitora:azure:Network', name);
    const options = { parent: this };
    const tags = tagsOf();
    this.#name = name;
    this.#place = place;
    const network = new VirtualNetwork(name, { ...place, addressSpaces: ['10.64.0.0/16'], tags }, options);
    const subnet = new Subnet(
      name,
      {
        resourceGroupName: place.resourceGroupName,
        virtualNetworkName: network.name,
        addressPrefixes: [subnetRange],
        defaultOutboundAccessEnabled: false,
      },
      options,
    );
    this.#dialsOut(subnet.id);
    this.#securityGroup = new NetworkSecurityGroup(name, { ...place, tags }, options);
    const fleetGroup = new ApplicationSecurityGroup(name, { ...place, tags }, options);
    this.fleetGroup = fleetGroup.id;
    this.subnet = subnet.id;
    this.securityGroup = this.#securityGroup.id;
    this.#rules(config, inbound);
    this.registerOutputs({});
  }

  #dialsOut(subnetId: pulumi.Output<string>): void {
    const [name, place, options] = [this.#name, this.#place, { parent: this }];
    const tags = tagsOf();
    const address = new PublicIp(
      name,
      { ...place, allocationMethod: 'Static', sku: 'Standard', tags },
      options,
    );
    const nat = new NatGateway(name, { ...place, skuName: 'Standard', tags }, options);
    new NatGatewayPublicIpAssociation(name, { natGatewayId: nat.id, publicIpAddressId: address.id }, options);
    new SubnetNatGatewayAssociation(name, { subnetId, natGatewayId: nat.id }, options);
  }

  #rules(config: AzureConfig, inbound: readonly Inbound[]): void {
    const fleet = { ids: this.fleetGroup };
    for (const direction of ['Inbound', 'Outbound'] as const) {
      this.#rule(`deny-${direction.toLowerCase()}`, {
        direction,
        access: 'Deny',
        priority: denyPriority,
        protocol: '*',
        ports: '*',
        source: anywhere,
        destination: anywhere,
      });
      if (!config.peers) continue;
      this.#rule(`peers-${direction.toLowerCase()}`, {
        direction,
        access: 'Allow',
        priority: peersPriority,
        // TCP and UDP: TLS and QUIC.
        protocol: '*',
        ports: String(peerPort),
        source: fleet,
        destination: fleet,
      });
    }
    for (const [index, port] of outgoingPorts(config).entries()) {
      this.#rule(`out-${port}`, {
        direction: 'Outbound',
        access: 'Allow',
        priority: outgoingPriority + index,
        protocol: 'Tcp',
        ports: String(port),
        source: fleet,
        destination: 'Internet',
      });
    }
    for (const [index, entry] of inbound.entries()) {
      const { protocol, fromPort, toPort, cidr } = entry;
      this.#rule(`asked-${nameOfInbound(entry)}`, {
        direction: 'Inbound',
        access: 'Allow',
        priority: askedPriority + index,
        protocol: protocol === 'tcp' ? 'Tcp' : 'Udp',
        ports: fromPort === toPort ? `${fromPort}` : `${fromPort}-${toPort}`,
        source: cidr,
        destination: fleet,
      });
    }
  }

  #rule(name: string, rule: Rule): void {
    const { direction, access, priority, protocol, ports, source, destination } = rule;
    new NetworkSecurityRule(
      `${this.#name}-${name}`,
      {
        resourceGroupName: this.#place.resourceGroupName,
        networkSecurityGroupName: this.#securityGroup.name,
        direction,
        access,
        priority,
        protocol,
        sourcePortRange: '*',
        destinationPortRange: ports,
        ...(typeof source === 'string'
          ? { sourceAddressPrefix: source }
          : { sourceApplicationSecurityGroupIds: source.ids }),
        ...(typeof destination === 'string'
          ? { destinationAddressPrefix: destination }
          : { destinationApplicationSecurityGroupIds: destination.ids }),
      },
      { parent: this },
    );
  }
}

/** Addresses, or the members of a group. */
type End = string | { readonly ids: pulumi.Output<string> };

interface Rule {
  readonly direction: 'Inbound' | 'Outbound';
  readonly access: 'Allow' | 'Deny';
  readonly priority: number;
  readonly protocol: '*' | 'Tcp' | 'Udp';
  readonly ports: string;
  readonly source: End;
  readonly destination: End;
}

const secretName = 'join-token';

/** The join token in a vault of its own, and the identity of hosts, which may read it and do nothing else. */
export class AzureJoinToken extends pulumi.ComponentResource {
  readonly source: pulumi.Output<TokenSource>;
  readonly identity: pulumi.Output<string>;

  constructor(name: string, config: AzureConfig, place: Place) {
    super('cognitora:azure:JoinToken', name);
    const options = { parent: this };
    const tags = tagsOf();
    const deployer = getClientConfigOutput({ parent: this });
    const vault = new KeyVault(
      name,
      {
        ...place,
        tenantId: deployer.tenantId,
        skuName: 'standard',
        rbacAuthorizationEnabled: true,
        softDeleteRetentionDays: 7,
        tags,
      },
      options,
    );
    // Who runs Pulumi writes the secret: owning a vault does not include that.
    const officer = new Assignment(
      `${name}-deployer`,
      {
        scope: vault.id,
        roleDefinitionName: 'Key Vault Secrets Officer',
        principalId: deployer.objectId,
      },
      options,
    );
    const secret = new Secret(
      name,
      { keyVaultId: vault.id, name: secretName, value: pulumi.secret(config.joinToken), tags },
      { parent: this, dependsOn: [officer] },
    );
    const identity = new UserAssignedIdentity(name, { ...place, tags }, options);
    this.identity = identity.id;
    const reader = new Assignment(
      `${name}-hosts`,
      {
        scope: secret.resourceVersionlessId,
        roleDefinitionName: 'Key Vault Secrets User',
        principalId: identity.principalId,
        principalType: 'ServicePrincipal',
      },
      options,
    );
    // A host is made only once it may read.
    this.source = pulumi
      .all([vault.vaultUri, identity.clientId, reader.id])
      .apply(
        ([vaultUri, clientId]): TokenSource => ({ kind: 'azure', vaultUri, secret: secretName, clientId }),
      );
    this.registerOutputs({});
  }
}

interface AzureHosts {
  readonly config: AzureConfig;
  readonly place: Place;
  readonly network: AzureNetwork;
  readonly token: AzureJoinToken;
  readonly userData: pulumi.Output<string>;
}

/** As many hosts as were asked for. */
export class AzureFleet extends pulumi.ComponentResource {
  constructor(name: string, { config, place, network, token, userData }: AzureHosts) {
    super('cognitora:azure:Fleet', name);
    const isSpot = config.market === 'spot';
    new LinuxVirtualMachineScaleSet(
      name,
      {
        ...place,
        sku: config.vmSize,
        instances: config.hosts,
        sourceImageId: config.image,
        overprovision: false,
        upgradeMode: 'Manual',
        ...(isSpot ? { priority: 'Spot', evictionPolicy: 'Delete' } : { priority: 'Regular' }),
        adminUsername: 'cognitora-admin',
        adminSshKeys: [{ username: 'cognitora-admin', publicKey: config.sshPublicKey }],
        disablePasswordAuthentication: true,
        // The subscription needs the feature EncryptionAtHost registered once.
        encryptionAtHostEnabled: true,
        osDisk: { caching: 'ReadWrite', storageAccountType: 'Premium_LRS', diskSizeGb: config.diskGb },
        identity: { type: 'UserAssigned', identityIds: [token.identity] },
        networkInterfaces: [
          {
            name: 'fleet',
            primary: true,
            networkSecurityGroupId: network.securityGroup,
            ipConfigurations: [
              {
                name: 'fleet',
                primary: true,
                subnetId: network.subnet,
                applicationSecurityGroupIds: [network.fleetGroup],
              },
            ],
          },
        ],
        customData: base64Of(userData),
        tags: tagsOf(),
      },
      { parent: this },
    );
    this.registerOutputs({});
  }
}

export const azureStack = (given: FleetArguments<AzureConfig>): FleetOutputs => {
  const { config } = given;
  const inbound = inboundOf(config);
  const edge = edgeOf(config);
  const { location } = config;
  const group = new ResourceGroup('fleet', { location, tags: tagsOf() });
  const place: Place = { resourceGroupName: group.name, location };
  const network = new AzureNetwork('fleet', config, place, inbound);
  const token = new AzureJoinToken('fleet', config, place);
  const userData = userDataOf(hostOf(given, edge, token.source));
  new AzureFleet('fleet', { config, place, network, token, userData });
  return outputsOf(config, edge);
};
