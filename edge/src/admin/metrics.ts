/**
 * `GET /metrics` for Prometheus: nodes, load, caches and trust of every region, as the regions' objects see them when
 * asked. Text only; keeps nothing and counts nothing of its own. Nodes name their models, so what names a model is
 * bounded: whoever makes names up makes no more rows than others.
 */
import { type Labels, MetricsPage, metricsContentType } from '@cognitora/protocol/metrics-page';
import { printable } from '@cognitora/protocol/printable';
import { Hono } from 'hono';
import type { RegionAdmission, TenantAdmissionView } from '../admission/view.ts';
import type { GpuView, LoadView } from '../directory/figures.ts';
import type { ModelView } from '../directory/model-view.ts';
import type { CacheView, NodeView } from '../directory/node-view.ts';
import type { Placed } from '../directory/receipts.ts';
import { type Env, settingsOf } from '../env.ts';
import type { RegionKvView } from '../kv/region-kv.ts';
import { regionObject } from '../objects.ts';

/** Rows of caches, of one node: eight replicas with eight models each. Of more those that hold most are shown. */
export const cachesShownMax = 64;
/** Models with rows of their own, in one region. Of more those that were asked for last are shown, then the largest. */
export const modelsShownMax = 256;

const trustLevels = { exact: 2, approximate: 1, blind: 0 } as const;

const addKnown = (page: MetricsPage, name: string, help: string, labels: Labels, value?: number): void => {
  if (value !== undefined) page.gauge(name, help, labels, value);
};

/** What is not known has no sample. */
const addLoad = (page: MetricsPage, labels: Labels, load: LoadView | undefined): void => {
  const { running, waiting, kvPermille } = load ?? {};
  const share = kvPermille === undefined ? undefined : kvPermille / 1_000;
  addKnown(page, 'cognitora_replica_engine_running', 'Requests that its engine runs.', labels, running);
  addKnown(page, 'cognitora_replica_engine_waiting', "Requests in its engine's queue.", labels, waiting);
  addKnown(page, 'cognitora_replica_kv_usage', 'Share of its KV memory in use, 0 to 1.', labels, share);
};

/** A sample only while it lasts, so that reasons of the past are no series for ever. */
const addFailed = (page: MetricsPage, labels: Labels, why = ''): void => {
  const help = '1 for a replica that cannot serve, with why in the words of its agent.';
  page.gauge('cognitora_replica_failed', help, { ...labels, why: printable(why) }, 1);
};

/** Labels are bounded: a node has `gpusPerNodeMax` numbers, whatever its agent says. */
const addGpu = (page: MetricsPage, ofNode: Labels, { gpu, ...figures }: GpuView): void => {
  const labels = { ...ofNode, gpu: String(gpu) };
  const { watts, celsius, memoryMiB, memoryUsedMiB, busyPercent } = figures;
  const busy = busyPercent === undefined ? undefined : busyPercent / 100;
  const bytesOf = (mib: number | undefined) => (mib === undefined ? undefined : mib * 1024 * 1024);
  addKnown(page, 'cognitora_gpu_watts', 'What the GPU draws.', labels, watts);
  addKnown(page, 'cognitora_gpu_celsius', 'How warm the GPU is.', labels, celsius);
  addKnown(page, 'cognitora_gpu_memory_bytes', 'Memory of the GPU.', labels, bytesOf(memoryMiB));
  addKnown(page, 'cognitora_gpu_memory_used_bytes', 'Of that, in use.', labels, bytesOf(memoryUsedMiB));
  addKnown(page, 'cognitora_gpu_busy', 'Share of the time that something ran, 0 to 1.', labels, busy);
};

interface ShownCache {
  readonly labels: Labels;
  readonly cache: CacheView;
}

const addCache = (page: MetricsPage, { labels, cache }: ShownCache): void => {
  const { trust, heldBlocks, hostBlocks, predictedTokens, confirmedTokens, missedReports } = cache;
  const known = 'What is known of its cache: 2 exact, 1 approximate, 0 blind.';
  page.gauge('cognitora_replica_trust', known, labels, trustLevels[trust]);
  page.gauge('cognitora_replica_cached_blocks', 'Prompt blocks in the prefix map.', labels, heldBlocks);
  page.gauge('cognitora_replica_host_blocks', 'Those of them that the host keeps.', labels, hostBlocks);
  const predicted = 'Cached tokens that were predicted, over its latest requests.';
  page.gauge('cognitora_replica_predicted_tokens', predicted, labels, predictedTokens);
  const confirmed = 'Of those, the ones that its engine reported.';
  page.gauge('cognitora_replica_confirmed_tokens', confirmed, labels, confirmedTokens);
  const missed = 'Reports of its cache that came too fast to be read.';
  page.counter('cognitora_replica_missed_reports', missed, labels, missedReports);
};

const byBlocks = (one: ShownCache, other: ShownCache): number =>
  other.cache.heldBlocks - one.cache.heldBlocks;

export const addNodes = (page: MetricsPage, region: string, nodes: readonly NodeView[]): void => {
  page.gauge('cognitora_nodes', 'Nodes with an open link.', { region }, nodes.length);
  for (const { node, name, cordoned, replicas, gpus } of nodes) {
    const ofNode = { region, node, host: name };
    page.gauge('cognitora_node_cordoned', '1 when it gets no new requests.', ofNode, cordoned ? 1 : 0);
    for (const gpu of gpus) addGpu(page, ofNode, gpu);
    const caches: ShownCache[] = [];
    for (const {
      name: replica,
      state,
      why,
      failing,
      isStale,
      caches: ofModels,
      live,
      seats,
      load,
    } of replicas) {
      const labels = { ...ofNode, replica };
      page.gauge('cognitora_replica_ready', '1 when it can serve.', labels, state === 'ready' ? 1 : 0);
      const left = '1 while it is left alone because its latest requests failed.';
      page.gauge('cognitora_replica_failing', left, labels, failing ? 1 : 0);
      const silent = '1 while its agent is silent about its load: it counts as full.';
      page.gauge('cognitora_replica_load_stale', silent, labels, isStale ? 1 : 0);
      if (state === 'failed') addFailed(page, labels, why);
      page.gauge('cognitora_replica_requests', 'Live requests.', labels, live);
      addKnown(page, 'cognitora_replica_seats', 'Requests it may have, as learned.', labels, seats);
      addLoad(page, labels, load);
      for (const cache of ofModels) caches.push({ labels: { ...labels, model: cache.model }, cache });
    }
    const all = `Models of its replicas: of more than ${cachesShownMax}, rows for those with most blocks.`;
    page.gauge('cognitora_node_models', all, ofNode, caches.length);
    if (caches.length > cachesShownMax) caches.sort(byBlocks);
    for (const shown of caches.slice(0, cachesShownMax)) addCache(page, shown);
  }
};

export const addKv = (page: MetricsPage, region: string, kv: RegionKvView): void => {
  const { nodes, linkedNodes, refused, keys, asked, named, suggested } = kv;
  const all = 'Nodes that share KV, those that are away for a moment included.';
  page.gauge('cognitora_kv_nodes', all, { region }, nodes);
  page.gauge('cognitora_kv_nodes_linked', 'Of those, the linked ones.', { region }, linkedNodes);
  const left = 'Nodes whose KV daemon is kept out: another key than the node has, or no room.';
  page.gauge('cognitora_kv_nodes_refused', left, { region }, refused.length);
  page.gauge('cognitora_kv_keys', 'Keys that KV daemons told of, copies counted.', { region }, keys);
  page.counter('cognitora_kv_asked_keys', 'Keys whose holders daemons asked for.', { region }, asked);
  page.counter('cognitora_kv_named_holders', 'Holders named for them.', { region }, named);
  const fetches = 'Requests sent to a node with word of who holds their beginning.';
  page.counter('cognitora_kv_suggested_fetches', fetches, { region }, suggested);
};

const replicasOf = ({ cells }: ModelView): number => cells.reduce((sum, { replicas }) => sum + replicas, 0);

/** Whoever makes up models is asked for none of them. */
const byDemand = (one: ModelView, other: ModelView): number =>
  (other.askedAtMs ?? 0) - (one.askedAtMs ?? 0) || replicasOf(other) - replicasOf(one);

export const addModels = (page: MetricsPage, region: string, known: readonly ModelView[]): void => {
  // A policy that is set for a model that nobody serves decides nothing.
  const models = known.filter(({ cells }) => cells.length > 0);
  const all = `Models that are served: of more than ${modelsShownMax}, rows for those asked for last.`;
  page.gauge('cognitora_models', all, { region }, models.length);
  const isTooMany = models.length > modelsShownMax;
  const shown = isTooMany ? models.toSorted(byDemand).slice(0, modelsShownMax) : models;
  for (const { model, policy, shadow, cells } of shown) {
    page.gauge('cognitora_model_policy', '1 for the policy that decides.', { region, model, policy }, 1);
    if (shadow !== undefined) {
      const labels = { region, model, policy: shadow.policy };
      page.counter('cognitora_shadow_decisions', 'Seen by the shadow policy.', labels, shadow.decisions);
      page.counter('cognitora_shadow_differences', 'Would have gone elsewhere.', labels, shadow.differences);
    }
    for (const cell of cells) {
      const labels = { region, model, cell: String(cell.cell) };
      page.gauge('cognitora_cell_replicas', 'Replicas in the cell.', labels, cell.replicas);
      page.gauge('cognitora_cell_map_bytes', 'Memory of its prefix map.', labels, cell.mapBytes);
      page.gauge('cognitora_cell_map_entries', 'Digests in it.', labels, cell.mapEntries);
      page.gauge('cognitora_cell_map_entries_max', 'Digests that fit.', labels, cell.mapEntriesMax);
      page.counter('cognitora_cell_map_evictions', 'Digests evicted from it.', labels, cell.mapEvictions);
    }
  }
};

/** Tenants with rows of their own, in one region. Of more those that have or want most now are shown. */
export const tenantsShownMax = 64;

const addRefused = (page: MetricsPage, name: string, labels: Labels, refused: object): void => {
  for (const [reason, count] of Object.entries(refused)) {
    page.counter(name, 'Requests that were not let in, by reason.', { ...labels, reason }, count);
  }
};

const underWay = ({ live, waiting }: TenantAdmissionView): number => live + waiting;

export const addAdmission = (page: MetricsPage, region: string, admission: RegionAdmission): void => {
  const { models, tenants, retries } = admission;
  for (const { model, waiting, live, granted, refused, waits } of models.slice(-modelsShownMax)) {
    const labels = { region, model };
    page.gauge('cognitora_queue_requests', 'Requests that wait for a seat.', labels, waiting);
    page.gauge('cognitora_model_requests', 'Requests that are served now.', labels, live);
    page.counter('cognitora_granted', 'Requests that were let in.', labels, granted);
    page.histogram('cognitora_queue_seconds', 'How long those waited for that.', labels, waits);
    addRefused(page, 'cognitora_refused', labels, refused);
  }
  const shown = tenants.toSorted((one, other) => underWay(other) - underWay(one)).slice(0, tenantsShownMax);
  for (const { tenant, waiting, live, granted, refused } of shown) {
    const labels = { region, tenant };
    page.gauge('cognitora_tenant_queue_requests', 'Requests that wait for a seat.', labels, waiting);
    page.gauge('cognitora_tenant_requests', 'Requests that are served now.', labels, live);
    page.counter('cognitora_tenant_granted', 'Requests that were let in.', labels, granted);
    addRefused(page, 'cognitora_tenant_refused', labels, refused);
  }
  const left = 'Attempts beyond the first that may be made now.';
  page.gauge('cognitora_retries_left', left, { region }, retries.left);
  const spent = 'Attempts that were not made since there were none left.';
  page.counter('cognitora_retries_refused', spent, { region }, retries.refused);
};

export const addDecisions = (page: MetricsPage, region: string, placed: Placed): void => {
  const help =
    'Decisions that found a replica, by what for: one that begins, a retry, a stream that goes on.';
  for (const [occasion, count] of Object.entries(placed)) {
    page.counter('cognitora_decisions', help, { region, occasion }, count);
  }
};

export const metricsRoutes = new Hono<{ Bindings: Env }>().get('/', async ({ env }) => {
  const page = new MetricsPage();
  for (const region of settingsOf(env).regions) {
    const object = regionObject(env, region);
    const [status, models, admission] = await Promise.all([
      object.status(),
      object.modelViews(),
      object.admission(),
    ]);
    addNodes(page, region, status.nodes as readonly NodeView[]);
    addKv(page, region, status.kv as RegionKvView);
    addDecisions(page, region, status.decisions);
    addModels(page, region, models as readonly ModelView[]);
    // The types of a call to an object know no tuples.
    addAdmission(page, region, admission as unknown as RegionAdmission);
  }
  return new Response(page.text, { headers: { 'content-type': metricsContentType } });
});
