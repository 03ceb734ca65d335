/**
 * The five stacks, planned by Pulumi's mocks from their own programs: what they would make is compared with what is
 * committed beside this file, and held against the rules.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { accountIdOf } from './gcp.ts';
import { cloudInit, packedUserData } from './host/cloud-init.ts';
import type { HostSpec } from './host/host-files.ts';
import { isA, type Plan, SecretValue } from './testing/plan.ts';
import { filesOf, readable } from './testing/readable.ts';
import { brokenRules, openingsOf } from './testing/rules.ts';
import {
  fullConfig,
  joinToken,
  leastConfig,
  openIn,
  planOfStack,
  secretTexts,
  type Target,
  targets,
} from './testing/stacks.ts';

const least = new Map<Target, Plan>();
const full = new Map<Target, Plan>();
const planIn = (plans: Map<Target, Plan>, target: Target): Plan => {
  const plan = plans.get(target);
  if (plan === undefined) throw new Error(`no plan of ${target}`);
  return plan;
};

beforeAll(async () => {
  for (const target of targets) {
    least.set(target, await planOfStack(target, leastConfig[target]));
    full.set(target, await planOfStack(target, fullConfig[target]));
  }
});

test.each([
  ['prod', 'cognitora-prod'],
  ['Prod_EU.1', 'cognitora-prod-eu-1'],
  [`${'x'.repeat(19)}-y`, `cognitora-${'x'.repeat(19)}`],
])('the account of hosts of stack %s has a name that Google takes', (stack, accountId) => {
  expect(accountIdOf(stack)).toBe(accountId);
});

describe.each(targets)('the stack %s', (target) => {
  test('plans what is committed, at its least and with all that can be asked for', async () => {
    for (const [name, plans] of Object.entries({ least, full })) {
      const text = readable(planIn(plans, target), secretTexts);
      await expect(text).toMatchFileSnapshot(`./plans/${target}-${name}.txt`);
    }
  });

  test('lets in nothing but what was asked for', () => {
    expect(openingsOf(planIn(least, target))).toEqual([]);
    expect(openingsOf(planIn(full, target))).toEqual(openIn[target]);
  });

  test('breaks no rule', () => {
    expect(brokenRules(planIn(least, target), { open: [], secrets: secretTexts })).toEqual([]);
    const expected = { open: openIn[target], secrets: secretTexts };
    expect(brokenRules(planIn(full, target), expected)).toEqual([]);
  });
});

const bareSpec: HostSpec = {
  edge: 'https://edge.example',
  region: undefined,
  release: '0.1.0',
  releaseUrl: undefined,
  token: { kind: 'user-data', token: joinToken },
  agentConfig: '',
  kvcachedConfig: undefined,
  setup: undefined,
  sources: { installScript: '', agentUnit: '', kvcachedUnit: '' },
};

describe('what a host gets', () => {
  const userDataOf = (target: Target, plans = full): string => {
    for (const { inputs } of planIn(plans, target).resources) {
      const metadata = inputs.metadata as Record<string, string> | undefined;
      const given = inputs.userData ?? inputs.customData ?? metadata?.['user-data'];
      if (given !== undefined) return String(given instanceof SecretValue ? given.value : given);
    }
    throw new Error(`no host in ${target}`);
  };
  const hosts = targets.filter((target) => target !== 'cloudflare');

  test.each(hosts)(
    'in %s it is what is committed, and has no token where the cloud keeps one',
    async (target) => {
      const files = filesOf(userDataOf(target));
      const own = Object.entries(files).filter(
        ([path]) => !/install\.sh$|cognitora-\w+\.service$/.test(path),
      );
      own.push(...Object.entries(files).filter(([path]) => path.endsWith('cognitora-join.service')));
      const text = own.map(([path, each]) => `==> ${path}\n${each}`).join('\n');
      await expect(text.replaceAll(joinToken, '<join token>')).toMatchFileSnapshot(
        `./plans/${target}-host.txt`,
      );
      expect(text.includes(joinToken)).toBe(target === 'hetzner');
      expect(Object.keys(files)).toContain('/usr/local/lib/cognitora/install.sh');
    },
  );

  test('it leaves half as much again for files of the user; what is too long is told before anything is made', () => {
    expect(Buffer.byteLength(userDataOf('aws'), 'base64')).toBeLessThan(11.5 * 1024);
    expect(userDataOf('hetzner').length).toBeLessThan(16 * 1024);
    const random = randomBytes(16 * 1024).toString('base64');
    expect(() => packedUserData(random)).toThrow('shorten setupFile or agentFile');
    const spec = { ...bareSpec, setup: randomBytes(32 * 1024).toString('base64') };
    expect(() => cloudInit(spec)).toThrow('of which a cloud takes 32768');
  });

  test.each(hosts)('in %s there is no kvcached where hosts share nothing', (target) => {
    const paths = Object.keys(filesOf(userDataOf(target, least))).join(' ');
    expect(paths).toContain('cognitora-agent.service');
    expect(paths).not.toContain('kvcached');
  });
});

describe('what stacks tell each other', () => {
  const bindingsOf = ({ resources }: Plan): unknown => {
    const bindings = resources.find(isA('WorkersScript'))?.inputs.bindings;
    return bindings instanceof SecretValue ? bindings.value : bindings;
  };
  const migrationsOf = ({ resources }: Plan): unknown =>
    resources.find(isA('WorkersScript'))?.inputs.migrations;

  test('the Worker is the bundle that wrangler would upload', () => {
    const bundle = readFileSync(new URL('../../edge/dist/worker.js', import.meta.url), 'utf8');
    const { content } = planIn(full, 'cloudflare').resources.find(isA('WorkersScript'))?.inputs ?? {};
    expect(content === bundle).toBe(true);
  });

  test('the regions of hosts become the edge’s, behind its own', () => {
    expect(bindingsOf(planIn(full, 'cloudflare'))).toContainEqual({
      type: 'plain_text',
      name: 'REGIONS',
      text: 'weur,enam',
    });
    expect(planIn(full, 'cloudflare').outputs.regions).toBe('weur,enam');
  });

  test('hosts find the edge by the name of its stack', async () => {
    const { edge: _, ...config } = leastConfig.aws;
    const plan = await planOfStack('aws', { ...config, edgeStack: 'acme/cognitora-cloudflare/prod' });
    expect(plan.outputs.edge).toBe('https://edge.example.com');
    const template = plan.resources.find(isA('LaunchTemplate'));
    const files = filesOf(String(template?.inputs.userData));
    const dropIn = files['/etc/systemd/system/cognitora-agent.service.d/10-fleet.conf'];
    expect(dropIn).toContain('COGNITORA_EDGE=https://edge.example.com\n');
  });

  test('migrations that the deployed Worker has been through are not sent again', async () => {
    const deployed = [{ id: 'cognitora-edge', migrationTag: 'v1' }];
    expect(migrationsOf(planIn(full, 'cloudflare'))).toEqual({
      newTag: 'v1',
      steps: [{ newSqliteClasses: ['Region', 'NodeLink', 'Registry'] }],
    });
    expect(migrationsOf(await planOfStack('cloudflare', leastConfig.cloudflare, { deployed }))).toBe(
      undefined,
    );
  });
});
