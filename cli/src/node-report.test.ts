import { expect, test } from 'vitest';
import { nodesReport } from './node-report.ts';

const replica = (name: string, state: string, role = 'both') => ({
  ...{ name, state, role, models: ['m'], live: 2, caches: [{ model: 'm', trust: 'exact' }] },
});
const node = (name: string, cordoned: boolean, replicas: readonly ReturnType<typeof replica>[]) => ({
  ...{ node: `n${name}`, name, connectedAtMs: 0, cordoned, replicas, gpus: [] },
});

test('a line for each replica says what keeps requests from it, and one for each host that is away', () => {
  const nodes = [
    node('attic', true, [replica('r0', 'ready'), replica('r1', 'loading', 'decode')]),
    node('shed', false, [replica('r0', 'ready')]),
  ];
  const away = [
    { node: 'ncellar', name: 'cellar', cordonedAtMs: 5 },
    { node: 'nporch', name: 'porch', cordonedAtMs: null },
  ];
  const lines = nodesReport({ regions: [{ region: 'weur', nodes }], away }, 60_000).split('\n');
  expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
    ['REGION', 'HOST', 'NODE', 'REPLICA', 'STATE', 'LIVE', 'RUN', 'WAIT', 'KV', 'MODELS', 'CACHE', 'LINKED'],
    ['weur', 'attic', 'nattic', 'r0', 'ready,cordoned', '2', '-', '-', '-', 'm', 'exact', '60 s ago'],
    [
      'weur',
      'attic',
      'nattic',
      'r1',
      'loading,decode,cordoned',
      '2',
      '-',
      '-',
      '-',
      'm',
      'exact',
      '60 s ago',
    ],
    ['weur', 'shed', 'nshed', 'r0', 'ready', '2', '-', '-', '-', 'm', 'exact', '60 s ago'],
    ['-', 'cellar', 'ncellar', '-', 'away,cordoned', '-', '-', '-', '-', '-', '-', '-'],
    ['-', 'porch', 'nporch', '-', 'away', '-', '-', '-', '-', '-', '-', '-'],
  ]);
});

test('who failed is told with why, in print, and who is left alone for it as failing', () => {
  const failed = { ...replica('r0', 'failed'), why: 'hung: \u001b[2Jno look was answered' };
  const failing = { ...replica('r1', 'ready'), failing: true };
  const nodes = [node('attic', true, [failed, failing])];
  const lines = nodesReport({ regions: [{ region: 'weur', nodes }], away: [] }, 60_000).split('\n');
  const cells = lines.map((line) => line.split(/ {2,}/));
  expect(cells.map((row) => row[4])).toEqual(['STATE', 'failed,cordoned', 'ready,failing,cordoned']);
  expect(cells.map((row) => row.slice(11))).toEqual([
    ['LINKED', 'WHY'],
    ['60 s ago', 'hung: \\u001b[2Jno look was answered'],
    ['60 s ago'],
  ]);
});

test('what engines and GPUs do is shown, each GPU once, and what nobody knows is "-", never 0', () => {
  const busy = { ...replica('r0', 'ready'), load: { running: 3, waiting: 0, kvPermille: 0 } };
  const gpus = [
    { gpu: 0, memoryMiB: 143_771, memoryUsedMiB: 70_000, watts: 312, celsius: 61, replicas: ['r0', 'r1'] },
    { gpu: 1, replicas: [] },
  ];
  const nodes = [{ ...node('attic', false, [busy, replica('r1', 'ready')]), gpus }];
  const lines = nodesReport({ regions: [{ region: 'weur', nodes }], away: [] }, 60_000).split('\n');
  const cells = lines.map((line) => line.trim().split(/ {2,}/));
  expect(cells.slice(1, 3).map((row) => row.slice(5, 9))).toEqual([
    ['2', '3', '0', '0 %'],
    ['2', '-', '-', '-'],
  ]);
  expect(cells.slice(4)).toEqual([
    ['HOST', 'NODE', 'GPU', 'MEMORY', 'WATTS', 'TEMP', 'BUSY', 'REPLICAS'],
    ['attic', 'nattic', '0', '68.4 of 140.4 GiB', '312 W', '61 °C', '-', 'r0,r1'],
    ['attic', 'nattic', '1', '-', '-', '-', '-', '-'],
  ]);
});

test('where nobody joined it tells how to', () => {
  expect(nodesReport({ regions: [], away: [] }, 0)).toMatch(/cgn keys join/);
});

test('one that loads and has not said what has "-" for its models and their caches', () => {
  const loading = { ...replica('r0', 'loading'), models: [], caches: [] };
  const nodes = [node('attic', false, [loading])];
  const [, line = ''] = nodesReport({ regions: [{ region: 'weur', nodes }], away: [] }, 60_000).split('\n');
  expect(line.split(/ {2,}/).slice(4)).toEqual(['loading', '2', '-', '-', '-', '-', '-', '60 s ago']);
});

test('how many peers a host reaches is shown where hosts share KV', () => {
  const shed = { ...node('shed', false, [replica('r0', 'ready')]), kv: { reach: [{}, {}] } };
  const nodes = [shed, node('attic', false, [replica('r0', 'ready')])];
  const lines = nodesReport({ regions: [{ region: 'weur', nodes }], away: [] }, 60_000).split('\n');
  expect(lines.map((line) => line.split(/ {2,}/).slice(10, 12))).toEqual([
    ['CACHE', 'PEERS'],
    ['exact', '2'],
    ['exact', '-'],
  ]);
});
