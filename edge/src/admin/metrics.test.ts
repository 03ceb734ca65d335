import { MetricsPage } from '@cognitora/protocol/metrics-page';
import { expect, test } from 'vitest';
import {
  addAdmission,
  addDecisions,
  addModels,
  addNodes,
  cachesShownMax,
  modelsShownMax,
  tenantsShownMax,
} from './metrics.ts';

test('decisions are counted by what they were for', () => {
  const page = new MetricsPage();
  addDecisions(page, 'weur', { first: 9, retried: 0, resumed: 2, continued: 3 });
  expect(page.text).toContain('cognitora_decisions{region="weur",occasion="continued"} 3\n');
  expect(page.text.match(/^cognitora_decisions[{]/gm)).toHaveLength(4);
});

test('trust, what was predicted and what of it was true are there per replica and model', () => {
  const page = new MetricsPage();
  const caches = [
    {
      model: 'm',
      trust: 'exact' as const,
      heldBlocks: 7,
      hostBlocks: 3,
      predictedTokens: 640,
      confirmedTokens: 512,
    },
  ];
  const replicas = [{ name: 'r0', state: 'ready', models: ['m'], caches, live: 2 }];
  const ofNode = { node: 'n1', name: 'rack', epoch: 1, connectedAtMs: 0, cordoned: true, live: 2 };
  const node = { ...ofNode, replicas, gpus: [] };
  addNodes(page, 'weur', [node] as unknown as Parameters<typeof addNodes>[2]);
  const labels = 'region="weur",node="n1",host="rack",replica="r0"';
  expect(page.text).toContain('cognitora_node_cordoned{region="weur",node="n1",host="rack"} 1');
  expect(page.text).toContain(`cognitora_replica_requests{${labels}} 2`);
  expect(page.text).toContain(`cognitora_replica_trust{${labels},model="m"} 2`);
  expect(page.text).toContain(`cognitora_replica_predicted_tokens{${labels},model="m"} 640`);
  expect(page.text).toContain(`cognitora_replica_confirmed_tokens{${labels},model="m"} 512`);
});

test('what engines and GPUs are known to do is there, and of what is not known there is no sample', () => {
  const page = new MetricsPage();
  const load = { running: 3, kvPermille: 250, ageMs: 5 };
  const replicas = [
    { name: 'r0', state: 'ready', models: [], caches: [], live: 2, load },
    { name: 'r1', state: 'ready', models: [], caches: [], live: 2 },
  ];
  const gpus = [{ gpu: 1, watts: 312, memoryUsedMiB: 2, ageMs: 5, replicas: ['r0', 'r1'] }];
  const node = { node: 'n1', name: 'rack', epoch: 1, connectedAtMs: 0, live: 2, replicas, gpus };
  addNodes(page, 'weur', [node] as unknown as Parameters<typeof addNodes>[2]);
  const ofNode = 'region="weur",node="n1",host="rack"';
  const lines = page.text.split('\n').filter((line) => /^cognitora_(gpu|replica_(engine|kv))_/.test(line));
  expect(lines).toEqual([
    `cognitora_gpu_watts{${ofNode},gpu="1"} 312`,
    `cognitora_gpu_memory_used_bytes{${ofNode},gpu="1"} 2097152`,
    `cognitora_replica_engine_running{${ofNode},replica="r0"} 3`,
    `cognitora_replica_kv_usage{${ofNode},replica="r0"} 0.25`,
  ]);
});

test('a replica that failed is there with why, on one line, and one that is left alone as such', () => {
  const page = new MetricsPage();
  const of = { models: [], caches: [], live: 0 };
  const replicas = [
    { ...of, name: 'r0', state: 'failed', failing: false, why: 'a "b"\u001b[2J\nc' },
    { ...of, name: 'r1', state: 'ready', failing: true, isStale: true },
    { ...of, name: 'r2', state: 'failed', failing: false },
  ];
  const node = { node: 'n1', name: 'rack', epoch: 1, connectedAtMs: 0, live: 0, replicas, gpus: [] };
  addNodes(page, 'weur', [node] as unknown as Parameters<typeof addNodes>[2]);
  const of1 = (name: string): string => `region="weur",node="n1",host="rack",replica="${name}"`;
  const lines = page.text.split('\n').filter((line) => line.startsWith('cognitora_replica_fail'));
  expect(page.text).toContain(`cognitora_replica_load_stale{${of1('r0')}} 0`);
  expect(page.text).toContain(`cognitora_replica_load_stale{${of1('r1')}} 1`);
  expect(lines.sort()).toEqual([
    String.raw`cognitora_replica_failed{${of1('r0')},why="a \"b\"\\u001b[2J\\u000ac"} 1`,
    `cognitora_replica_failed{${of1('r2')},why=""} 1`,
    `cognitora_replica_failing{${of1('r0')}} 0`,
    `cognitora_replica_failing{${of1('r1')}} 1`,
    `cognitora_replica_failing{${of1('r2')}} 0`,
  ]);
});

test('a model’s policy, its shadow and its cells are there', () => {
  const page = new MetricsPage();
  const map = { mapBytes: 9, mapEntries: 8, mapEntriesMax: 10, mapEvictions: 3 };
  const cell = { cell: 3, replicas: 4, meanLive: 1, ...map };
  const shadow = { policy: 'random', decisions: 5, differences: 2 };
  addModels(page, 'weur', [
    { model: 'm', policy: 'weighted', shadow, askedAtMs: 1, profile: 'p', cells: [cell] },
    { model: 'unserved', policy: 'weighted', shadow, askedAtMs: undefined, profile: undefined, cells: [] },
  ]);
  expect(page.text).toContain('cognitora_model_policy{region="weur",model="m",policy="weighted"} 1');
  expect(page.text).toContain('cognitora_shadow_differences{region="weur",model="m",policy="random"} 2');
  expect(page.text).toContain('cognitora_cell_map_entries{region="weur",model="m",cell="3"} 8');
  expect(page.text).not.toContain('unserved');
});

const rowsOf = (page: MetricsPage, metric: string): string[] =>
  page.text.split('\n').filter((line) => line.startsWith(`${metric}{`));

test('a node that makes models up makes a bounded number of rows, and takes none from others', () => {
  const page = new MetricsPage();
  const cacheOf = (model: string, heldBlocks: number) => ({
    ...{
      model,
      trust: 'approximate',
      heldBlocks,
      hostBlocks: 0,
      predictedTokens: 0,
      confirmedTokens: 0,
      missedReports: 0,
    },
  });
  const nodeOf = (node: string, replicas: number, models: number) => ({
    ...{ node, name: node, epoch: 1, connectedAtMs: 0, cordoned: false, live: 0, gpus: [] },
    replicas: Array.from({ length: replicas }, (_, replica) => ({
      ...{ name: `r${replica}`, state: 'ready', models: [], live: 0 },
      caches: Array.from({ length: models }, (_, model) => cacheOf(`${node}-${model}`, model)),
    })),
  });
  const nodes = [nodeOf('liar', 64, 256), nodeOf('honest', 8, 8)];
  addNodes(page, 'weur', nodes as unknown as Parameters<typeof addNodes>[2]);
  const rows = rowsOf(page, 'cognitora_replica_trust');
  expect(rows.filter((row) => row.includes('host="liar"'))).toHaveLength(cachesShownMax);
  expect(rows.filter((row) => row.includes('host="honest"'))).toHaveLength(64);
  // Those that hold most are shown, and how many there are.
  expect(page.text).toContain('replica="r63",model="liar-255"} 1');
  expect(page.text).not.toContain('model="liar-0"');
  expect(page.text).toContain('cognitora_node_models{region="weur",node="liar",host="liar"} 16384');
  expect(page.text.split('\n').length).toBeLessThan(1_500);
});

test('of very many models those have rows that are asked for, then those with most replicas', () => {
  const page = new MetricsPage();
  const modelOf = (model: string, replicas: number, askedAtMs: number | undefined) => ({
    ...{ model, policy: 'weighted', shadow: undefined, askedAtMs, profile: undefined },
    cells: [
      { cell: 0, replicas, meanLive: 0, mapBytes: 0, mapEntries: 0, mapEntriesMax: 0, mapEvictions: 0 },
    ],
  });
  const invented = Array.from({ length: 5_000 }, (_, index) => modelOf(`invented-${index}`, 1, undefined));
  const real = [modelOf('unasked', 2, undefined), modelOf('asked', 1, 5)];
  addModels(page, 'weur', [...invented, ...real]);
  const rows = rowsOf(page, 'cognitora_model_policy');
  expect(rows).toHaveLength(modelsShownMax);
  expect(rows[0]).toContain('model="asked"');
  expect(rows[1]).toContain('model="unasked"');
  expect(page.text).toContain('cognitora_models{region="weur"} 5002');
});

test('who waits, was let in and was refused is there per model and tenant; of many tenants those with most', () => {
  const page = new MetricsPage();
  const used = { waiting: 3, live: 4, granted: 50, refused: { queue_full: 2 } };
  const waits = { buckets: [[0.5, 6]] as const, count: 50, sumSeconds: 9 };
  const many = Array.from({ length: tenantsShownMax }, (_, at) => ({ tenant: `t${at}`, ...used }));
  addAdmission(page, 'weur', {
    models: [{ model: 'm', ...used, waits, paceMs: 100, firstTokenMs: 200 }],
    tenants: [{ tenant: 'idle', ...used, waiting: 0, live: 0 }, ...many],
    limits: { models: [], tenants: [] },
    retries: { left: 7, refused: 1 },
  });
  expect(page.text).toContain('cognitora_queue_requests{region="weur",model="m"} 3');
  expect(page.text).toContain('cognitora_queue_seconds_bucket{region="weur",model="m",le="0.5"} 6');
  expect(page.text).toContain('cognitora_granted{region="weur",model="m"} 50');
  expect(page.text).toContain('cognitora_refused{region="weur",model="m",reason="queue_full"} 2');
  expect(page.text).toContain('cognitora_tenant_queue_requests{region="weur",tenant="t63"} 3');
  expect(page.text).toContain('cognitora_retries_left{region="weur"} 7');
  expect(page.text).not.toContain('tenant="idle"');
});
