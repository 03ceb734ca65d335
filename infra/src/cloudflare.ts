/**
 * The edge on Cloudflare: the Worker with its Durable Objects and migrations as wrangler.toml has them, its secrets,
 * and the name under which clients and hosts reach it. The address at workers.dev stays closed: one name, one origin.
 */
import { getWorkersScriptsOutput } from '@pulumi/cloudflare/getWorkersScripts.js';
import { WorkersCustomDomain } from '@pulumi/cloudflare/workersCustomDomain.js';
import { WorkersRoute } from '@pulumi/cloudflare/workersRoute.js';
import { WorkersScript } from '@pulumi/cloudflare/workersScript.js';
import { WorkersScriptSubdomain } from '@pulumi/cloudflare/workersScriptSubdomain.js';
import * as pulumi from '@pulumi/pulumi';
import { ConfigError, type ConfigOf, list, optionalText, secret, text } from './config.ts';
import type { EdgeFiles } from './repository.ts';
import { type Migration, pendingMigrations, readWranglerToml } from './wrangler-toml.ts';

const regionsMax = 16;
const hostStacksMax = 64;
const regionPattern = /^[a-z][a-z0-9-]{0,31}$/;
const hexId = /^[0-9a-f]{32}$/;

export const cloudflareFields = {
  accountId: text(
    { what: 'the account', example: '0123456789abcdef0123456789abcdef' },
    hexId,
    'the id of an account, 32 hex digits',
  ),
  zoneId: text(
    { what: "the zone that the edge's name is in", example: '0123456789abcdef0123456789abcdef' },
    hexId,
    'the id of a zone, 32 hex digits',
  ),
  domain: optionalText(
    { what: 'the name of the edge, which Cloudflare makes', example: 'edge.example.com' },
    /^(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}$/,
    'the name of a host',
  ),
  routes: list(
    { what: 'patterns of a name that is there already', example: 'api.example.com/*', otherwise: [] },
    /^(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}\/\*$/,
    'patterns HOST/* such as api.example.com/*',
    regionsMax,
  ),
  regions: list(
    {
      what: "the edge's regions in order of preference, beside those of hostStacks",
      example: 'weur,enam',
      otherwise: [],
    },
    regionPattern,
    'lower-case names such as weur',
    regionsMax,
  ),
  hostStacks: list(
    {
      what: 'stacks of hosts whose regions the edge takes in',
      example: 'organization/cognitora-aws/prod',
      otherwise: [],
    },
    /^[\w.-]+\/[\w.-]+\/[\w.-]+$/,
    'names of stacks: organization/project/stack',
    hostStacksMax,
  ),
  adminKeyHash: secret(
    { what: 'hex SHA-256 of an admin key that you chose', example: '' },
    /^[0-9a-f]{64}$/,
    'the hex SHA-256 of a key, 64 digits: printf %s "$KEY" | sha256sum',
  ),
  fleetSecret: secret(
    { what: 'random characters that authenticate tokens and certificates', example: '' },
    /^[\x21-\x7e]{32,512}$/,
    'at least 32 random characters: openssl rand -base64 33',
  ),
} as const;

export type CloudflareConfig = ConfigOf<typeof cloudflareFields>;

export interface EdgeOutputs {
  /** For the hosts: `edge` of their stacks, or found by their `edgeStack`. */
  readonly edgeUrl: string;
  readonly regions: pulumi.Output<string>;
  readonly script: pulumi.Output<string>;
}

/** The hosts' names of which one was asked for; what clients and agents dial is the first. */
const namesOf = ({ domain, routes }: CloudflareConfig): readonly string[] => {
  const names = [
    ...(domain === undefined ? [] : [domain]),
    ...routes.map((route) => route.replace('/*', '')),
  ];
  if (names.length > 0) return names;
  throw new ConfigError([
    "Neither domain nor routes is set: pulumi config set domain 'edge.example.com' makes a name; " +
      "pulumi config set routes 'api.example.com/*' takes requests of one that is there",
  ]);
};

/** Of the edge: as configured, then those in which stacks of hosts say that they are; else wrangler.toml's own. */
const regionsOf = (config: CloudflareConfig, otherwise: string): pulumi.Output<string> => {
  const told = config.hostStacks.map((stack) =>
    new pulumi.StackReference(stack).getOutput('edgeRegion').apply((region: unknown): string => {
      if (region === undefined || region === '') return '';
      if (typeof region === 'string' && regionPattern.test(region)) return region;
      throw new Error(`The stack ${stack} has no region as its output edgeRegion.`);
    }),
  );
  return pulumi.all(told).apply((found) => {
    const regions = [...new Set([...config.regions, ...found.filter((region) => region !== '')])];
    return regions.length === 0 ? otherwise : regions.join(',');
  });
};

/** As `wrangler deploy` does: only what the account's Worker has not been through yet. */
const migrationsOf = (
  parent: pulumi.Resource,
  accountId: string,
  name: string,
  migrations: readonly Migration[],
) =>
  getWorkersScriptsOutput({ accountId }, { parent }).apply(({ results }) => {
    const doneTag = results.find(({ id }) => id === name)?.migrationTag ?? '';
    const pending = pendingMigrations(migrations, doneTag);
    const last = pending.at(-1);
    if (last === undefined) return undefined;
    return {
      ...(doneTag === '' ? {} : { oldTag: doneTag }),
      newTag: last.tag,
      steps: pending.map(({ newSqliteClasses }) => ({ newSqliteClasses: [...newSqliteClasses] })),
    };
  });

/** The Worker, its objects, its secrets and its names. */
export class CloudflareEdge extends pulumi.ComponentResource {
  readonly script: pulumi.Output<string>;
  readonly regions: pulumi.Output<string>;

  constructor(name: string, config: CloudflareConfig, files: EdgeFiles) {
    super('cognitora:cloudflare:Edge', name);
    const options = { parent: this };
    const plan = readWranglerToml(files.wranglerToml);
    const { accountId, zoneId } = config;
    const { REGIONS: ownRegions = '', ...variables } = plan.variables;
    this.regions = regionsOf(config, ownRegions);
    const texts = { ...variables, REGIONS: this.regions };
    const secrets = { ADMIN_KEY_HASH: config.adminKeyHash, FLEET_SECRET: config.fleetSecret };
    const worker = new WorkersScript(
      name,
      {
        accountId,
        scriptName: plan.name,
        mainModule: 'worker.js',
        content: files.worker,
        compatibilityDate: plan.compatibilityDate,
        compatibilityFlags: [...plan.compatibilityFlags],
        bindings: [
          ...plan.objects.map((object) => ({ type: 'durable_object_namespace', ...object })),
          ...Object.entries(texts).map(([key, value]) => ({ type: 'plain_text', name: key, text: value })),
          ...Object.entries(secrets).map(([key, value]) => ({
            type: 'secret_text',
            name: key,
            text: pulumi.secret(value),
          })),
        ],
        migrations: migrationsOf(this, accountId, plan.name, plan.migrations),
      },
      options,
    );
    this.script = worker.scriptName;
    const scriptName = worker.scriptName;
    new WorkersScriptSubdomain(
      name,
      { accountId, scriptName, enabled: false, previewsEnabled: false },
      options,
    );
    if (config.domain !== undefined) {
      new WorkersCustomDomain(
        name,
        { accountId, zoneId, hostname: config.domain, service: scriptName },
        options,
      );
    }
    for (const pattern of config.routes) {
      new WorkersRoute(
        `${name}-${pattern.replace('/*', '')}`,
        { zoneId, pattern, script: scriptName },
        options,
      );
    }
    this.registerOutputs({});
  }
}

export const cloudflareStack = (config: CloudflareConfig, files: EdgeFiles): EdgeOutputs => {
  const [name] = namesOf(config);
  const edge = new CloudflareEdge('edge', config, files);
  return { edgeUrl: `https://${name}`, regions: edge.regions, script: edge.script };
};
