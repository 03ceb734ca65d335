/**
 * What every fleet of GPU hosts is told, whatever its cloud: which edge, how many hosts, which release, what they
 * serve, and what may come in. The clouds add their own fields. Pure.
 */
import {
  ConfigError,
  type ConfigOf,
  choice,
  flag,
  integer,
  list,
  optionalText,
  secret,
  text,
} from './config.ts';

/** The edge's own bound on hosts that share KV is far above; one stack is one group of like hosts. */
const hostsMax = 256;
const inboundMax = 16;
/** No cloud's default image is smaller, and engines and weights need far more. */
const diskGbMin = 30;
const diskGbMax = 16_384;

export const httpsOrigin = /^https:\/\/[a-z0-9.-]+(?::\d{1,5})?$/;
/** protocol:port or from-to:CIDR, such as tcp:22:203.0.113.7/32. */
const inboundPattern = /^(?:tcp|udp):\d{1,5}(?:-\d{1,5})?:(?:\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/;

export const fleetFields = {
  edge: optionalText(
    { what: "the edge's URL, unless edgeStack names the stack that has it", example: 'https://edge.example' },
    httpsOrigin,
    'an https origin without a path',
  ),
  edgeStack: optionalText(
    {
      what: 'the cloudflare stack whose edge the hosts join',
      example: 'organization/cognitora-cloudflare/prod',
    },
    /^[\w.-]+\/[\w.-]+\/[\w.-]+$/,
    'the name of a stack: organization/project/stack',
  ),
  region: optionalText(
    { what: "the edge's region that the hosts join", example: 'weur' },
    /^[a-z][a-z0-9-]{0,31}$/,
    'a lower-case name',
  ),
  joinToken: secret(
    { what: 'the token with which hosts join: cgn keys join --uses HOSTS', example: 'cgj_...' },
    /^cgj_[A-Za-z0-9_-]{16,256}$/,
    'a join token ("cgj_...") as "cgn keys join" prints it',
  ),
  hosts: integer({ what: 'how many hosts', example: '2', otherwise: 1 }, 0, hostsMax),
  market: choice(
    { what: 'whether hosts may be taken away for a lower price', example: 'spot', otherwise: 'on-demand' },
    ['on-demand', 'spot'] as const,
  ),
  peers: flag({
    what: 'whether hosts share KV: the peer port, open inside the fleet alone',
    example: 'true',
    otherwise: false,
  }),
  inbound: list(
    { what: 'what else may come in', example: 'tcp:22:203.0.113.7/32', otherwise: [] },
    inboundPattern,
    'entries protocol:port:CIDR such as tcp:22:203.0.113.7/32',
    inboundMax,
  ),
  release: text(
    { what: 'the release of cgn to install', example: '0.1.0' },
    /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/,
    'a version such as 0.1.0',
  ),
  releaseUrl: optionalText(
    {
      what: 'a mirror of the releases (CGN_BASE_URL), if not where install.sh finds them',
      example: 'https://mirror.example/cgn',
    },
    /^https:\/\/[^\s'"\\]+$/,
    'an https URL',
  ),
  agentFile: text(
    { what: 'the agent.toml of the hosts, relative to the stack', example: './agent.toml' },
    /^[^\0]{1,1024}$/,
    'the path of a file',
  ),
  kvcachedFile: optionalText(
    { what: 'the kvcached.toml of the hosts, relative to the stack', example: './kvcached.toml' },
    /^[^\0]{1,1024}$/,
    'the path of a file',
  ),
  setupFile: optionalText(
    { what: 'a shell script that prepares a host before its agent starts', example: './setup.sh' },
    /^[^\0]{1,1024}$/,
    'the path of a file',
  ),
} as const;

/** Where a disk's size is for the user to say. */
export const diskFields = {
  diskGb: integer(
    { what: "the size of a host's disk in GB", example: '200', otherwise: 100 },
    diskGbMin,
    diskGbMax,
  ),
} as const;

export type FleetConfig = ConfigOf<typeof fleetFields>;

/** One thing that may come in because the user asked for it. */
export interface Inbound {
  readonly protocol: 'tcp' | 'udp';
  readonly fromPort: number;
  readonly toPort: number;
  readonly cidr: string;
}

const portMax = 65_535;

const readInbound = (entry: string): Inbound => {
  const [protocol = '', ports = '', cidr = ''] = entry.split(':');
  const [from = '', to = from] = ports.split('-');
  const [fromPort, toPort] = [Number(from), Number(to)];
  const [address = '', bits = ''] = cidr.split('/');
  const isAddress = address.split('.').every((part) => Number(part) <= 255) && Number(bits) <= 32;
  if (isAddress && fromPort >= 1 && fromPort <= toPort && toPort <= portMax) {
    return { protocol: protocol === 'udp' ? 'udp' : 'tcp', fromPort, toPort, cidr };
  }
  throw new ConfigError([
    `inbound: "${entry}" names no ports from 1 to ${portMax} and no range of addresses. ` +
      "Set it: pulumi config set inbound 'tcp:22:203.0.113.7/32'",
  ]);
};

/** Of the rule that lets it in: no two are called alike. */
export const nameOfInbound = ({ protocol, fromPort, toPort, cidr }: Inbound): string =>
  `${protocol}-${fromPort}-${toPort}-${cidr.replace(/[./]/g, '-')}`;

/** What the fields mean together. Throws `ConfigError`. */
export const inboundOf = (config: FleetConfig): readonly Inbound[] => {
  const problems: string[] = [];
  if ((config.edge === undefined) === (config.edgeStack === undefined)) {
    problems.push(
      "Exactly one of edge and edgeStack says which edge: pulumi config set edge 'https://edge.example', or " +
        "pulumi config set edgeStack 'organization/cognitora-cloudflare/prod'",
    );
  }
  if (config.kvcachedFile !== undefined && !config.peers) {
    problems.push('kvcachedFile is for hosts that share KV: pulumi config set peers true');
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config.inbound.map(readInbound);
};
