/** The stacks as tests bring them up: a whole configuration for each, and its program loaded as Pulumi loads it. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { vi } from 'vitest';
import type * as repository from '../repository.ts';
import { type Plan, type PlanOptions, planOf } from './plan.ts';

export const targets = ['aws', 'azure', 'cloudflare', 'gcp', 'hetzner'] as const;
export type Target = (typeof targets)[number];

const root = resolve(import.meta.dirname, '../../..');

/** install.sh as whoever publishes releases commits it. */
export const keyedInstaller = readFileSync(join(root, 'install.sh'), 'utf8')
  .replace("release_key=''", "release_key='-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----'")
  .replace("release_url=''", "release_url='https://releases.example/cgn'");

/** What stacks read of a clone, with that installer; the packages are this one's. Whoever asks removes it. */
export const publishersClone = (): string => {
  const clone = mkdtempSync(join(tmpdir(), 'cognitora-infra-'));
  const services = ['docs/cognitora-agent.service', 'docs/cognitora-kvcached.service'];
  const read = ['infra/src', 'infra/stacks', 'infra/package.json', 'edge/dist/worker.js', 'wrangler.toml'];
  for (const path of [...read, ...services]) {
    mkdirSync(dirname(join(clone, path)), { recursive: true });
    cpSync(join(root, path), join(clone, path), { recursive: true });
  }
  symlinkSync(join(root, 'infra/node_modules'), join(clone, 'infra/node_modules'));
  writeFileSync(join(clone, 'install.sh'), keyedInstaller);
  return clone;
};

/** Nothing else in a plan looks like them. */
export const joinToken = 'cgj_T0kenThatNobodyMaySee0001';
export const adminKeyHash = 'deadbeef'.repeat(8);
export const fleetSecret = 'a-fleet-secret-that-nobody-may-see';
export const secretTexts = [joinToken, adminKeyHash, fleetSecret];

const fleet = {
  edge: 'https://edge.example',
  release: '0.1.0',
  agentFile: './agent.example.toml',
  joinToken,
};

/** The least that each stack wants. */
export const leastConfig: Readonly<Record<Target, Readonly<Record<string, string>>>> = {
  aws: {
    ...fleet,
    awsRegion: 'eu-west-1',
    zones: 'eu-west-1a,eu-west-1b',
    image: 'ami-0123456789abcdef0',
    instanceTypes: 'g6.2xlarge,g5.2xlarge',
  },
  azure: {
    ...fleet,
    location: 'westeurope',
    image: '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/gpu',
    vmSize: 'Standard_NC24ads_A100_v4',
    sshPublicKey: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA you',
  },
  cloudflare: {
    accountId: '0123456789abcdef0123456789abcdef',
    zoneId: 'fedcba9876543210fedcba9876543210',
    domain: 'edge.example.com',
    adminKeyHash,
    fleetSecret,
  },
  gcp: {
    ...fleet,
    gcpProject: 'my-project',
    gcpRegion: 'europe-west4',
    zones: 'europe-west4-a,europe-west4-b',
    image: 'projects/my-project/global/images/gpu',
    machineType: 'g2-standard-8',
  },
  hetzner: { ...fleet, location: 'fsn1', serverType: 'ccx33' },
};

/** With all that can be asked for beside it. */
export const fullConfig: Readonly<Record<Target, Readonly<Record<string, string>>>> = {
  aws: { ...leastConfig.aws, hosts: '3', market: 'spot', peers: 'true', region: 'weur', inbound: asked() },
  azure: {
    ...leastConfig.azure,
    hosts: '3',
    market: 'spot',
    peers: 'true',
    region: 'weur',
    inbound: asked(),
  },
  cloudflare: {
    ...leastConfig.cloudflare,
    routes: 'api.example.com/*',
    regions: 'weur',
    hostStacks: 'acme/cognitora-aws/prod',
  },
  gcp: {
    ...leastConfig.gcp,
    hosts: '3',
    market: 'spot',
    peers: 'true',
    region: 'weur',
    inbound: asked(),
    kmsKey: 'projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k',
  },
  hetzner: {
    ...leastConfig.hetzner,
    hosts: '2',
    peers: 'true',
    region: 'weur',
    inbound: asked(),
    vswitchId: '12345',
  },
};

function asked(): string {
  return 'tcp:22:203.0.113.7/32, udp:60000-60010:198.51.100.0/24';
}

const peers = ['tcp 6381-6381 the fleet', 'udp 6381-6381 the fleet'];
const askedIn = ['tcp 22-22 203.0.113.7/32', 'udp 60000-60010 198.51.100.0/24'];
/** What the full plan lets in. At Hetzner peers meet in the private network, which its firewalls do not guard. */
export const openIn: Readonly<Record<Target, readonly string[]>> = {
  aws: [...askedIn, ...peers].sort(),
  azure: [...askedIn, ...peers].sort(),
  cloudflare: [],
  gcp: [...askedIn, ...peers].sort(),
  hetzner: askedIn,
};

export const secretKeys = ['joinToken', 'adminKeyHash', 'fleetSecret'];

export const planOfStack = async (
  target: Target,
  config: Readonly<Record<string, string>>,
  { installScript = keyedInstaller, ...options }: Partial<PlanOptions> & { installScript?: string } = {},
): Promise<Plan> => {
  vi.resetModules();
  vi.doMock('../repository.ts', async (importOriginal) => {
    const original = await importOriginal<typeof repository>();
    const readFleetFiles: typeof repository.readFleetFiles = (own, directory) =>
      original.readFleetFiles(own, directory, installScript);
    return { ...original, readFleetFiles };
  });
  return planOf({
    target,
    config,
    secretKeys: secretKeys.filter((key) => config[key] !== undefined),
    stacks: {
      'acme/cognitora-aws/prod': { edgeRegion: 'enam' },
      'acme/cognitora-cloudflare/prod': { edgeUrl: 'https://edge.example.com' },
    },
    load: () => import(`../../stacks/${target}/index.ts`) as Promise<object>,
    ...options,
  });
};
