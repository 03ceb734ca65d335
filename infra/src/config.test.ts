/** What a person wrote wrong is told all at once, each with the command that mends it. */
import { expect, test } from 'vitest';
import { awsFields } from './aws.ts';
import { cloudflareFields } from './cloudflare.ts';
import { ConfigError, type Fields, parseConfig } from './config.ts';
import { edgeOrigin } from './fleet.ts';
import { type FleetConfig, inboundOf } from './fleet-config.ts';
import type { Plan } from './testing/plan.ts';
import { joinToken, leastConfig, planOfStack, type Target, targets } from './testing/stacks.ts';

const problemsOf = (
  fields: Fields,
  values: Readonly<Record<string, string>>,
  secretKeys = ['joinToken'],
): readonly string[] => {
  try {
    parseConfig(fields, { values, secretKeys });
    return [];
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
};
const { aws } = leastConfig;

test('a whole configuration is read, with defaults for what may be left out', () => {
  const config = parseConfig(awsFields, { values: aws, secretKeys: ['joinToken'] });
  expect(config).toMatchObject({ hosts: 1, market: 'on-demand', peers: false, inbound: [], diskGb: 100 });
  expect(config.zones).toEqual(['eu-west-1a', 'eu-west-1b']);
});

test('what is missing is told with the command that sets it, a secret’s without a place for its value', () => {
  const { joinToken: _, image: __, ...rest } = aws;
  expect(problemsOf(awsFields, rest)).toEqual([
    'joinToken is missing: the token with which hosts join: cgn keys join --uses HOSTS. ' +
      'Set it: pulumi config set --secret joinToken',
    'image is missing: an image of Ubuntu or Debian with NVIDIA drivers (and your engine). ' +
      "Set it: pulumi config set image 'ami-0123456789abcdef0'",
  ]);
});

test('a key that is none is named with the one that was meant', () => {
  expect(problemsOf(awsFields, { ...aws, marked: 'spot' })).toEqual([
    'marked is no key of this stack. Did you mean market? Remove it: pulumi config rm marked',
  ]);
  expect(problemsOf(awsFields, { ...aws, constructor: 'x' }).join()).toContain('is no key of this stack');
});

test('a secret in plain text is refused, and a wrong one is not repeated', () => {
  expect(problemsOf(awsFields, aws, [])).toEqual([
    'joinToken stands in plain text. Set it as a secret, and change it: pulumi config set --secret joinToken',
  ]);
  const wrong = problemsOf(awsFields, { ...aws, joinToken: 'cgk_hunter2' });
  expect(wrong.join()).toContain('a join token ("cgj_...")');
  expect(wrong.join()).not.toContain('hunter2');
});

test.each<[key: string, value: string, mustBe: string]>([
  ['edge', 'http://edge.example', 'an https origin without a path'],
  ['edge', 'https://edge.example/v1', 'an https origin without a path'],
  ['hosts', '-1', 'a whole number from 0 to 256'],
  ['hosts', '257', 'a whole number from 0 to 256'],
  ['market', 'cheap', 'one of on-demand, spot'],
  ['peers', 'yes', 'true or false'],
  ['image', 'ubuntu', 'the id of an image, ami-...'],
  ['zones', 'eu-west-1', 'at most 6 zones such as eu-west-1a, separated by commas'],
  [
    'inbound',
    'all',
    'at most 16 entries protocol:port:CIDR such as tcp:22:203.0.113.7/32, separated by commas',
  ],
  ['release', 'latest', 'a version such as 0.1.0'],
  ['releaseUrl', 'http://mirror.example', 'an https URL'],
])('%s is not "%s"', (key, value, mustBe) => {
  const [problem = ''] = problemsOf(awsFields, { ...aws, [key]: value });
  expect(problem).toContain(`${key} must be ${mustBe}, not "${value}". Set it: pulumi config set ${key} '`);
});

test('what comes in has ports and addresses that there are', () => {
  const fleet = (values: Partial<FleetConfig>): FleetConfig => ({
    ...parseConfig(awsFields, { values: aws, secretKeys: ['joinToken'] }),
    ...values,
  });
  expect(inboundOf(fleet({ inbound: ['tcp:22:203.0.113.7/32'] }))).toEqual([
    { protocol: 'tcp', fromPort: 22, toPort: 22, cidr: '203.0.113.7/32' },
  ]);
  for (const wrong of [
    'tcp:0:10.0.0.0/8',
    'tcp:99999:10.0.0.0/8',
    'tcp:2-1:10.0.0.0/8',
    'tcp:1:10.0.0.300/8',
  ]) {
    expect(() => inboundOf(fleet({ inbound: [wrong] })), wrong).toThrow('names no ports from 1 to 65535');
  }
  expect(() => inboundOf(fleet({ edge: undefined }))).toThrow('Exactly one of edge and edgeStack');
  expect(() => inboundOf(fleet({ edgeStack: 'a/b/c' }))).toThrow('Exactly one of edge and edgeStack');
  expect(() => inboundOf(fleet({ kvcachedFile: 'a.toml' }))).toThrow('pulumi config set peers true');
});

test('the edge wants a name, and its secrets as secrets', async () => {
  const { domain: _, ...nameless } = leastConfig.cloudflare;
  await expect(planOfStack('cloudflare', nameless)).rejects.toThrow(
    "pulumi config set domain 'edge.example.com'",
  );
  const plain = problemsOf(cloudflareFields, leastConfig.cloudflare, []);
  expect(plain.map((problem) => problem.split(' ')[0])).toEqual(['adminKeyHash', 'fleetSecret']);
});

test.each(targets)('the program of %s refuses a secret that is none', async (target: Target) => {
  const secretKeys: string[] = [];
  await expect(planOfStack(target, leastConfig[target], { secretKeys })).rejects.toThrow(
    'stands in plain text',
  );
});

test('a file that is not there is named, with the key that names it', async () => {
  const config = { ...leastConfig.hetzner, agentFile: './missing.toml' };
  await expect(planOfStack('hetzner', config)).rejects.toThrow('pulumi config set agentFile names it');
  await expect(planOfStack('hetzner', config)).rejects.not.toThrow(joinToken);
});

test('without a release that hosts could install nothing is planned, and it is told what to do', async () => {
  const planOf = (installScript: string, config = {}): Promise<Plan> =>
    planOfStack('aws', { ...aws, ...config }, { installScript });
  const noKey = 'release_key, so no host could install anything, or join: build, sign and serve a release';
  const noUrl = "pulumi config set releaseUrl 'https://mirror.example/cgn'";
  const [bare, keyed] = ["release_url=''\nrelease_key=''\n", "release_url=''\nrelease_key='a\nb'\n"];
  await expect(planOf(bare)).rejects.toThrow(noKey);
  await expect(planOf(bare)).rejects.toThrow(noUrl);
  await expect(planOf(keyed)).rejects.toThrow(noUrl);
  const mirrored = { releaseUrl: 'https://mirror.example/cgn' };
  await expect(planOf(bare, mirrored)).rejects.toThrow(noKey);
  expect((await planOf(keyed, mirrored)).outputs.hosts).toBe(1);
});

test.each(['aws', 'azure', 'gcp'] as const)('no two rules of %s are called alike', async (target) => {
  const inbound = 'tcp:22:203.0.113.7/32,tcp:22-23:203.0.113.7/32,udp:22:203.0.113.7/32';
  const { resources } = await planOfStack(target, { ...leastConfig[target], inbound });
  const names = resources.map(({ type, name }) => `${type} ${name}`);
  expect(new Set(names).size).toBe(names.length);
  expect(names.filter((name) => name.includes('203-0-113-7'))).toHaveLength(3);
});

test('what another stack says of its edge is an https origin, or nothing is made of it', () => {
  expect(edgeOrigin('a/b/c', 'https://edge.example/path')).toBe('https://edge.example');
  for (const url of [undefined, 'edge', 'http://edge.example', "https://a'$(touch$IFSx)'b/", 'data:,x']) {
    expect(() => edgeOrigin('a/b/c', url)).toThrow(
      'The stack a/b/c has no output edgeUrl that is an https URL',
    );
  }
});
