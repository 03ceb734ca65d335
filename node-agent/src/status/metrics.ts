/** `GET /metrics`: what the agent's status says, for Prometheus. Pure; keeps and counts nothing. */
import type { ReplicaStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { type Labels, MetricsPage } from '@cognitora/protocol/metrics-page';
import type { GpuReport } from '@cognitora/protocol/telemetry';

const trustLevels = { exact: 2, approximate: 1, blind: 0 } as const;

const addReplica = (page: MetricsPage, replica: ReplicaStatus): void => {
  const labels = { replica: replica.name, profile: replica.profile };
  const { state, live, requests, bodyBytes } = replica;
  page.gauge('cognitora_agent_replica_ready', '1 when it can serve.', labels, state === 'ready' ? 1 : 0);
  page.gauge('cognitora_agent_replica_state', '1 for its state.', { ...labels, state }, 1);
  page.gauge('cognitora_agent_replica_live_requests', 'Live requests.', labels, live);
  page.counter('cognitora_agent_replica_requests_total', 'Requests that it was given.', labels, requests);
  page.counter('cognitora_agent_replica_body_bytes_total', 'Bytes of its answers.', labels, bodyBytes);
  for (const [status, count] of Object.entries(replica.answers)) {
    const help = 'Answers by the class of their status.';
    page.counter('cognitora_agent_replica_answers_total', help, { ...labels, status }, count);
  }
  for (const [code, count] of Object.entries(replica.errors)) {
    page.counter('cognitora_agent_replica_errors_total', 'Requests that failed.', { ...labels, code }, count);
  }
  for (const { model, trust } of replica.caches) {
    const help = 'What is known of its cache: 2 exact, 1 approximate, 0 blind.';
    page.gauge('cognitora_agent_replica_trust', help, { ...labels, model }, trustLevels[trust]);
  }
};

/** What is not known has no sample. */
const addKnown = (
  page: MetricsPage,
  labels: Labels,
  samples: readonly (readonly [
    kind: 'gauge' | 'counter',
    name: string,
    help: string,
    value: number | undefined,
  ])[],
): void => {
  for (const [kind, name, help, value] of samples) {
    if (value !== undefined) page[kind](`cognitora_agent_${name}`, help, labels, value);
  }
};

const addLoad = (page: MetricsPage, { name, profile, load = {} }: ReplicaStatus): void => {
  addKnown(page, { replica: name, profile }, [
    ['gauge', 'engine_running', 'Requests that the engine runs, whoever sent them.', load.running],
    ['gauge', 'engine_waiting', "Requests in the engine's queue.", load.waiting],
    ['gauge', 'engine_others_running', 'Of those, the ones of others.', load.othersRunning],
    ['gauge', 'engine_others_waiting', 'Of those, the ones of others.', load.othersWaiting],
    ['gauge', 'engine_kv_usage', 'Share of its KV memory in use, 0 to 1.', load.kvUsage],
    ['counter', 'engine_prompt_tokens_total', 'Of prompts, cached ones included.', load.promptTokens],
    ['counter', 'engine_cached_tokens_total', 'Of prompts, from its cache.', load.cachedTokens],
    ['counter', 'engine_generated_tokens_total', 'Generated.', load.generatedTokens],
    ['counter', 'engine_preemptions_total', 'Requests that lost their KV memory.', load.preemptions],
  ]);
};

const addMoves = (page: MetricsPage, { name, profile, moves }: ReplicaStatus): void => {
  if (moves === undefined) return;
  const labels = { replica: name, profile };
  const { canMove, saved, restored, refused } = moves;
  const help = '1 when its engine has shown that it restores what it saves.';
  page.gauge('cognitora_agent_moves_possible', help, labels, canMove ? 1 : 0);
  for (const [move, { count, bytes, ms }] of Object.entries({ saved, restored })) {
    const of = { ...labels, move };
    page.counter('cognitora_agent_moves_total', 'States of prompts saved and restored.', of, count);
    page.counter('cognitora_agent_moves_bytes_total', 'Bytes of them.', of, bytes);
    page.counter('cognitora_agent_moves_ms_total', 'Milliseconds that they took.', of, ms);
  }
  for (const [reason, count] of Object.entries(refused)) {
    const why = 'States that were not moved, or not used, where they could have been.';
    page.counter('cognitora_agent_moves_refused_total', why, { ...labels, reason }, count);
  }
};

const addGpu = (page: MetricsPage, { gpu, ...figures }: GpuReport): void => {
  const bytesOf = (mib?: number): number | undefined => (mib === undefined ? undefined : mib * 1024 * 1024);
  const busy = figures.busyPercent === undefined ? undefined : figures.busyPercent / 100;
  addKnown(page, { gpu: String(gpu) }, [
    ['gauge', 'gpu_watts', 'What the GPU draws.', figures.watts],
    ['gauge', 'gpu_celsius', 'How warm the GPU is.', figures.celsius],
    ['gauge', 'gpu_memory_bytes', 'Memory of the GPU.', bytesOf(figures.memoryMiB)],
    ['gauge', 'gpu_memory_used_bytes', 'Of that, in use.', bytesOf(figures.memoryUsedMiB)],
    ['gauge', 'gpu_busy', 'Share of the time that something ran, 0 to 1.', busy],
  ]);
};

export const addStatus = (page: MetricsPage, status: StatusAnswer): void => {
  const { link, live, kept, replicas, gpus, kvcached, process } = status;
  page.gauge(
    'cognitora_agent_linked',
    '1 while the edge accepts its link.',
    {},
    link.state === 'linked' ? 1 : 0,
  );
  if (link.epoch !== undefined) page.gauge('cognitora_agent_epoch', "The link's number.", {}, link.epoch);
  page.counter('cognitora_agent_redials_total', 'Dials after the first one.', {}, link.redials);
  page.gauge('cognitora_agent_live_requests', 'Live requests.', {}, live);
  page.gauge('cognitora_agent_kept_bytes', 'Of answers that a next link may claim.', {}, kept.bytes);
  page.gauge('cognitora_agent_streams_detached', 'Answers without a link.', {}, kept.detached);
  page.counter('cognitora_agent_streams_resumed_total', 'Went on under another link.', {}, kept.resumed);
  const ended = 'Cancelled since no link claimed them in time.';
  page.counter('cognitora_agent_streams_unclaimed_total', ended, {}, kept.unclaimed);
  for (const replica of replicas) {
    addReplica(page, replica);
    addLoad(page, replica);
    addMoves(page, replica);
  }
  if (kvcached !== undefined) {
    const { isJoined, hosts } = kvcached;
    page.gauge('cognitora_agent_kvcached_joined', '1 while its KV daemon has joined.', {}, isJoined ? 1 : 0);
    page.gauge('cognitora_agent_kvcached_hosts', 'Hosts whose KV daemons that one reaches.', {}, hosts);
  }
  for (const gpu of gpus) addGpu(page, gpu);
  page.gauge('cognitora_agent_uptime_seconds', 'Since the start.', {}, Math.round(process.uptimeMs / 1_000));
  page.gauge('cognitora_agent_resident_bytes', 'Memory of the process.', {}, process.residentBytes);
  page.gauge('cognitora_agent_heap_bytes', 'Of that, in use by JavaScript.', {}, process.heapBytes);
  const lost = 'Log lines that nobody read in time.';
  page.counter('cognitora_agent_log_lines_dropped_total', lost, {}, process.logLinesDropped);
};

export const metricsText = (status: StatusAnswer): string => {
  const page = new MetricsPage();
  addStatus(page, status);
  return page.text;
};
