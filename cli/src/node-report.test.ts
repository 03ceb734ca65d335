import { expect, test } from 'vitest';
import { nodesReport } from './node-report.ts';

const replica = (name: string, state: string, role = 'both') => ({
  ...{ name, state, role, models: ['m'], live: 2, caches: [{ model: 'm', trust: 'exact' }] },
});
const node = (name: string, cordoned: boolean, replicas: readonly ReturnType<typeof replica>[]) => ({
  ...{ node: `n${name}`, name, connectedAtMs: 0, cordoned, replicas },
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
    ['REGION', 'HOST', 'NODE', 'REPLICA', 'STATE', 'LIVE', 'MODELS', 'CACHE', 'LINKED'],
    ['weur', 'attic', 'nattic', 'r0', 'ready,cordoned', '2', 'm', 'exact', '60 s ago'],
    ['weur', 'attic', 'nattic', 'r1', 'loading,decode,cordoned', '2', 'm', 'exact', '60 s ago'],
    ['weur', 'shed', 'nshed', 'r0', 'ready', '2', 'm', 'exact', '60 s ago'],
    ['-', 'cellar', 'ncellar', '-', 'away,cordoned', '-', '-', '-', '-'],
    ['-', 'porch', 'nporch', '-', 'away', '-', '-', '-', '-'],
  ]);
});

test('where nobody joined it tells how to', () => {
  expect(nodesReport({ regions: [], away: [] }, 0)).toMatch(/cgn keys join/);
});
