/**
 * A fleet at Hetzner: cloud servers in a private network behind a firewall that lets nothing in, and a way for
 * dedicated and GPU servers to join. The provider speaks Hetzner Cloud alone: dedicated servers (GPU ones are
 * dedicated) are ordered by a person, then reached over a vSwitch, and made members by the script that this stack gives
 * out. It can neither encrypt the disks of cloud servers, nor keep a secret, nor buy spot hosts: that key is refused.
 */
import { Firewall } from '@pulumi/hcloud/firewall.js';
import { Network } from '@pulumi/hcloud/network.js';
import { NetworkSubnet } from '@pulumi/hcloud/networkSubnet.js';
import { PlacementGroup } from '@pulumi/hcloud/placementGroup.js';
import { Server } from '@pulumi/hcloud/server.js';
import * as pulumi from '@pulumi/pulumi';
import { type ConfigOf, choice, integer, optionalText, text } from './config.ts';
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
import { fleetFields, type Inbound, inboundOf } from './fleet-config.ts';
import { joinScriptFor } from './host/cloud-init.ts';
import type { TokenSource } from './host/token-source.ts';

/** Hetzner's own bound for a spread placement group. */
const spreadHostsMax = 10;

export const hetznerFields = {
  ...fleetFields,
  hosts: integer({ what: 'how many cloud servers', example: '2', otherwise: 1 }, 0, spreadHostsMax),
  market: choice({ what: 'Hetzner has one market', example: 'on-demand', otherwise: 'on-demand' }, [
    'on-demand',
  ] as const),
  location: text({ what: 'the location', example: 'fsn1' }, /^[a-z]{3}\d?$/, 'a location such as fsn1'),
  networkZone: text(
    { what: 'the network zone of the location', example: 'eu-central', otherwise: 'eu-central' },
    /^[a-z]{2}-[a-z]+$/,
    'a network zone such as eu-central',
  ),
  serverType: text(
    { what: 'the type of cloud servers', example: 'ccx33' },
    /^[a-z]{2,4}\d{2,3}$/,
    'a type of server such as ccx33',
  ),
  image: text(
    { what: 'the image', example: 'ubuntu-24.04', otherwise: 'ubuntu-24.04' },
    /^[a-z0-9.-]{2,64}$/,
    'the name or the id of an image',
  ),
  vswitchId: optionalText(
    { what: 'the vSwitch that the dedicated servers are in', example: '12345' },
    /^\d{1,9}$/,
    'the number of a vSwitch',
  ),
} as const;

export type HetznerConfig = ConfigOf<typeof hetznerFields>;

const networkRange = '10.64.0.0/16';
const everywhere = ['0.0.0.0/0', '::/0'];

/** A private network, with the dedicated servers in it where there is a vSwitch, and a firewall for the public side. */
export class HetznerNetwork extends pulumi.ComponentResource {
  readonly networkId: pulumi.Output<number>;
  readonly firewallId: pulumi.Output<number>;

  constructor(name: string, config: HetznerConfig, inbound: readonly Inbound[]) {
    super('cognitora:hetzner:Network', name);
    const options = { parent: this };
    const labels = tagsOf();
    const network = new Network(name, { ipRange: networkRange, labels }, options);
    const networkId = network.id.apply(Number);
    const subnet = new NetworkSubnet(
      name,
      { networkId, type: 'cloud', networkZone: config.networkZone, ipRange: '10.64.0.0/20' },
      options,
    );
    if (config.vswitchId !== undefined) {
      new NetworkSubnet(
        `${name}-dedicated`,
        {
          networkId,
          type: 'vswitch',
          networkZone: config.networkZone,
          ipRange: '10.64.16.0/20',
          vswitchId: Number(config.vswitchId),
        },
        options,
      );
    }
    // A server joins the network only once that has a subnet.
    this.networkId = pulumi.all([networkId, subnet.id]).apply(([id]) => id);
    // Hetzner's firewalls guard the public side alone; peers meet in the private network, where there is no other host.
    const asked = inbound.map(({ protocol, fromPort, toPort, cidr }) => ({
      direction: 'in',
      protocol,
      port: fromPort === toPort ? `${fromPort}` : `${fromPort}-${toPort}`,
      sourceIps: [cidr],
      description: 'Asked for by the configuration key inbound',
    }));
    const outgoing = outgoingPorts(config).map((port) => ({ protocol: 'tcp', port: `${port}` }));
    // Names and the time: Hetzner's own servers for them are outside.
    outgoing.push(
      { protocol: 'udp', port: '53' },
      { protocol: 'tcp', port: '53' },
      { protocol: 'udp', port: '123' },
    );
    const rules = [
      ...asked,
      ...outgoing.map((rule) => ({ direction: 'out', ...rule, destinationIps: everywhere })),
    ];
    this.firewallId = new Firewall(name, { rules, labels }, options).id.apply(Number);
    this.registerOutputs({});
  }
}

/** As many cloud servers as were asked for, on different hosts of Hetzner's. */
export class HetznerFleet extends pulumi.ComponentResource {
  constructor(name: string, config: HetznerConfig, network: HetznerNetwork, userData: pulumi.Output<string>) {
    super('cognitora:hetzner:Fleet', name);
    const options = { parent: this };
    const labels = tagsOf();
    if (config.hosts > 0) {
      const group = new PlacementGroup(name, { type: 'spread', labels }, options);
      for (let index = 0; index < config.hosts; index += 1) {
        new Server(
          `${name}-${index}`,
          {
            serverType: config.serverType,
            image: config.image,
            location: config.location,
            placementGroupId: group.id.apply(Number),
            firewallIds: [network.firewallId],
            networks: [{ networkId: network.networkId }],
            publicNets: [{ ipv4Enabled: true, ipv6Enabled: true }],
            userData,
            labels,
          },
          // Else a new token would replace the hosts that joined with the old one.
          { parent: this, ignoreChanges: ['userData'] },
        );
      }
    }
    this.registerOutputs({});
  }
}

export interface HetznerOutputs extends FleetOutputs {
  /** Run by root on a dedicated server, it makes it a member. It holds the join token. */
  readonly dedicatedScript: pulumi.Output<string>;
}

export const hetznerStack = (given: FleetArguments<HetznerConfig>): HetznerOutputs => {
  const { config } = given;
  const inbound = inboundOf(config);
  const edge = edgeOf(config);
  const network = new HetznerNetwork('fleet', config, inbound);
  const source: pulumi.Output<TokenSource> = pulumi
    .secret(config.joinToken)
    .apply((token): TokenSource => ({ kind: 'user-data', token }));
  const host = hostOf(given, edge, source);
  new HetznerFleet('fleet', config, network, userDataOf(host));
  return {
    ...outputsOf(config, edge),
    dedicatedScript: host.apply(joinScriptFor),
  };
};
