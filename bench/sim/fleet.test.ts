/** What the directory makes of what a simulated node's agent tells. */
import { telemetryMsMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { weighted } from '../../edge/src/policy/weighted.ts';
import { Fleet } from './fleet.ts';
import { blockTokens } from './testing/sessions.ts';

/** Where `weighted` places a request when its two nodes drew so much a while ago. */
const placedBy = (watts: readonly number[], agoMs = 0): number | undefined => {
  const sizes = { nodes: 2, cells: 1, seed: 1, blockTokens, digestTokens: blockTokens };
  const fleet = new Fleet({ ...sizes, policy: weighted, random: () => 0.9 });
  for (const [node, drawn] of watts.entries()) fleet.measured(node, drawn, 0);
  return fleet.place([1, 2], 2 * blockTokens, agoMs)?.node;
};

test('of two idle nodes weighted chooses the one that draws less', () => {
  expect([placedBy([650, 110]), placedBy([110, 650])]).toEqual([1, 0]);
});

test('what was told long ago decides nothing', () => {
  const tooOldMs = telemetryMsMax + 1;
  expect(placedBy([650, 110], tooOldMs)).toBe(placedBy([110, 650], tooOldMs));
});
