/**
 * What the fleets of all clouds share: which edge their hosts join, the user data of a host, its tags, and the bounds
 * of what goes out. Knows Pulumi's values, and no cloud.
 */
import * as pulumi from '@pulumi/pulumi';
import { type FleetConfig, httpsOrigin } from './fleet-config.ts';
import { cloudInit } from './host/cloud-init.ts';
import type { HostSpec } from './host/host-files.ts';
import type { TokenSource } from './host/token-source.ts';
import type { FleetFiles } from './repository.ts';

export interface FleetArguments<C> {
  readonly config: C & FleetConfig;
  readonly files: FleetFiles;
}

/** On everything that can be tagged, so that what belongs to a stack is found, and paid for by name. */
export const tagsOf = (stack: string = pulumi.getStack()): { readonly [key: string]: string } => ({
  'managed-by': 'pulumi',
  project: 'cognitora',
  // Labels of Google's cloud are lower-case.
  stack: stack.toLowerCase(),
});

/** What a stack says of its edge. It is written into programs of the hosts, so it is held to what may stand there. */
export const edgeOrigin = (stack: string, url: unknown): string => {
  const origin = typeof url === 'string' && URL.canParse(url) ? new URL(url).origin : '';
  if (httpsOrigin.test(origin)) return origin;
  throw new Error(
    `The stack ${stack} has no output edgeUrl that is an https URL: bring it up first, or set edge.`,
  );
};

/** The edge's origin: as configured, or as the edge's own stack says. */
export const edgeOf = ({ edge, edgeStack }: FleetConfig): pulumi.Output<string> => {
  if (edge !== undefined) return pulumi.output(edge);
  const stack = edgeStack ?? '';
  return new pulumi.StackReference(stack)
    .requireOutput('edgeUrl')
    .apply((url: unknown) => edgeOrigin(stack, url));
};

/** What a host is made from, once it is known where its token is kept. */
export const hostOf = (
  { config, files }: FleetArguments<unknown>,
  edge: pulumi.Output<string>,
  token: pulumi.Output<TokenSource>,
): pulumi.Output<HostSpec> =>
  pulumi.all([edge, token]).apply(([origin, source]) => ({
    edge: origin,
    region: config.region,
    release: config.release,
    releaseUrl: config.releaseUrl,
    token: source,
    ...files,
  }));

export const userDataOf = (host: pulumi.Output<HostSpec>): pulumi.Output<string> => host.apply(cloudInit);

export const base64Of = (text: pulumi.Output<string>): pulumi.Output<string> =>
  text.apply((plain) => Buffer.from(plain).toString('base64'));

/**
 * Hosts dial out for packages, releases and weights (HTTP, HTTPS), and to the edge at its own port. An edge on
 * Cloudflare, which is what `edgeStack` names, has 443.
 */
export const outgoingPorts = ({ edge }: FleetConfig): readonly number[] => {
  const edgePort = edge === undefined ? 443 : Number(new URL(edge).port || 443);
  return [...new Set([80, 443, edgePort])].sort((a, b) => a - b);
};

/** What the edge's stack, and a person, want to know of a fleet. */
export interface FleetOutputs {
  readonly edge: pulumi.Output<string>;
  /** Feeds the edge's REGIONS (hostStacks of the cloudflare stack); empty: the edge's first region. */
  readonly edgeRegion: string;
  readonly hosts: number;
}

export const outputsOf = ({ region, hosts }: FleetConfig, edge: pulumi.Output<string>): FleetOutputs => ({
  ...{ edge, hosts },
  edgeRegion: region ?? '',
});
