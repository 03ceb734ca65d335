/**
 * What the deployment gives the edge: bindings, read once into settings. Nothing else reads an environment. There are
 * no defaults for secrets: without them the edge answers 500 and says which one is missing.
 */
import { utf8 } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseRegion, type Region as RegionName } from '@cognitora/protocol/ids';
import {
  bodyBytesInFlightMaxSelfHosted,
  bodyBytesInFlightMaxWorkers,
  bodyBytesKeptMaxSelfHosted,
  bodyBytesKeptMaxWorkers,
  bodyBytesMaxSelfHosted,
  bodyBytesMaxWorkers,
  kvFabricNodesMax,
  prefixBlockBytesDefault,
  prefixBlockBytesMax,
  prefixBlockBytesMin,
  prefixMapsBytesMaxSelfHosted,
  prefixMapsBytesMaxWorkers,
} from '@cognitora/protocol/limits';
import type { PrefixTerms } from '@cognitora/protocol/link';
import { blake3, hashHex } from '@cognitora/protocol/prefix/blake3';
import type { BodyBounds } from './body-budget.ts';
import type { Region } from './directory/region.ts';
import { replicasPerCellMax } from './directory/replica-slots.ts';
import type { NodeLink } from './link/node-link.ts';
import type { Registry } from './state/registry.ts';

export interface Env {
  readonly REGION: DurableObjectNamespace<Region>;
  readonly NODE_LINK: DurableObjectNamespace<NodeLink>;
  readonly REGISTRY: DurableObjectNamespace<Registry>;
  /** Hex SHA-256 of the first admin key. A secret. */
  readonly ADMIN_KEY_HASH?: string;
  /** At least 32 characters; authenticates tokens and certificates. A secret. */
  readonly FLEET_SECRET?: string;
  /** Regions of this deployment in order of preference, separated by commas. */
  readonly REGIONS?: string;
  /** Origins at which agents may dial, separated by commas; absent on Workers, where the platform checks the host. */
  readonly ORIGINS?: string;
  /** `one-object` (a region's links live in the region's object) or `object-per-node`. */
  readonly LAYOUT?: string;
  /** Bytes of a prompt that one prefix digest stands for; `prefixBlockBytesDefault` if absent. */
  readonly PREFIX_BLOCK_BYTES?: string;
  /** Replicas of one cell, where they are to be smaller than a map's planes: tests of regions with many cells. */
  readonly CELL_REPLICAS_MAX?: string;
  /** `self-hosted`: plain workerd under `cgn`, with larger bounds for request bodies. */
  readonly PLATFORM?: string;
}

export const layouts = ['one-object', 'object-per-node'] as const;
export type Layout = (typeof layouts)[number];

export interface Settings {
  readonly regions: readonly [RegionName, ...RegionName[]];
  readonly origins: readonly string[] | undefined;
  readonly layout: Layout;
  /** Plain workerd, with a supervisor beside it. */
  readonly isSelfHosted: boolean;
  readonly bodies: BodyBounds;
  readonly prefix: PrefixTerms;
  readonly cellReplicasMax: number | undefined;
  /** Of all prefix maps of one region together. */
  readonly mapsBytesMax: number;
  /** Maps of keys that KV daemons hold, of 64 nodes and 8 MiB each. */
  readonly keyMapsMax: number;
  readonly adminKeyHash: string;
  readonly fleetSecret: string;
}

const bodiesSelfHosted: BodyBounds = {
  bytesMax: bodyBytesMaxSelfHosted,
  bytesInFlightMax: bodyBytesInFlightMaxSelfHosted,
  bytesKeptMax: bodyBytesKeptMaxSelfHosted,
};
const bodiesOnWorkers: BodyBounds = {
  bytesMax: bodyBytesMaxWorkers,
  bytesInFlightMax: bodyBytesInFlightMaxWorkers,
  bytesKeptMax: bodyBytesKeptMaxWorkers,
};

/** For as many nodes as share KV; on Workers for the first 64: an isolate holds it beside its prefix maps. */
const keyMapsMaxSelfHosted = kvFabricNodesMax / replicasPerCellMax;
const keyMapsMaxOnWorkers = 1;

const misconfigured = (problem: string): CognitoraError =>
  new CognitoraError('misconfigured', `The edge is not configured: ${problem}.`);

const readOrigin = (text: string): string => {
  const origin = URL.canParse(text.trim()) ? new URL(text.trim()).origin : undefined;
  if (origin === undefined) throw misconfigured('ORIGINS must list URLs such as "https://edge.example"');
  return origin;
};

/** One trust domain per deployment: whoever does not know its secret cannot tell what a digest stands for. */
const prefixSalt = (fleetSecret: string): string =>
  hashHex(blake3(utf8(`cognitora prefix salt v1\n${fleetSecret}`))).slice(0, 32);

const readBlockBytes = (env: Env): number => {
  const bytes = Number(env.PREFIX_BLOCK_BYTES ?? prefixBlockBytesDefault);
  if (Number.isInteger(bytes) && bytes >= prefixBlockBytesMin && bytes <= prefixBlockBytesMax) return bytes;
  throw misconfigured(`PREFIX_BLOCK_BYTES must be ${prefixBlockBytesMin} to ${prefixBlockBytesMax}`);
};

const readSettings = (env: Env): Settings => {
  const names = (env.REGIONS ?? 'local').split(',').map((name) => parseRegion(name.trim()));
  const [first, ...others] = names;
  if (first === undefined || others.includes(undefined)) {
    throw misconfigured('REGIONS must list names such as "weur,enam"');
  }
  const layout = layouts.find((candidate) => candidate === (env.LAYOUT ?? 'one-object'));
  if (layout === undefined) throw misconfigured(`LAYOUT must be one of ${layouts.join(', ')}`);
  const adminKeyHash = env.ADMIN_KEY_HASH ?? '';
  if (!/^[0-9a-f]{64}$/.test(adminKeyHash)) {
    throw misconfigured('the secret ADMIN_KEY_HASH must be the hex SHA-256 of the admin key');
  }
  const fleetSecret = env.FLEET_SECRET ?? '';
  if (fleetSecret.length < 32)
    throw misconfigured('the secret FLEET_SECRET must have at least 32 characters');
  const isSelfHosted = env.PLATFORM === 'self-hosted';
  return {
    regions: [first, ...others.filter((name) => name !== undefined)],
    origins: env.ORIGINS?.split(',').map(readOrigin),
    layout,
    isSelfHosted,
    mapsBytesMax: isSelfHosted ? prefixMapsBytesMaxSelfHosted : prefixMapsBytesMaxWorkers,
    keyMapsMax: isSelfHosted ? keyMapsMaxSelfHosted : keyMapsMaxOnWorkers,
    bodies: isSelfHosted ? bodiesSelfHosted : bodiesOnWorkers,
    prefix: { salt: prefixSalt(fleetSecret), blockBytes: readBlockBytes(env) },
    cellReplicasMax: env.CELL_REPLICAS_MAX === undefined ? undefined : Number(env.CELL_REPLICAS_MAX),
    adminKeyHash,
    fleetSecret,
  };
};

let known: { readonly env: Env; readonly settings: Settings } | undefined;

/** The settings of this isolate, parsed once. Throws `misconfigured` with what to set. */
export const settingsOf = (env: Env): Settings => {
  if (known?.env !== env) known = { env, settings: readSettings(env) };
  return known.settings;
};
