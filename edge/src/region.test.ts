import type { Region } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { orderRegions } from './region.ts';

const regions = ['enam', 'weur', 'apac', 'eeur'] as Region[];

test('without a continent the configured order holds', () => {
  expect(orderRegions(regions, undefined)).toEqual(regions);
  expect(orderRegions(regions, 'T1')).toEqual(regions);
  expect(orderRegions(['local'] as Region[], 'EU')).toEqual(['local']);
});

test('regions of the client’s continent come first, each group in the configured order, none left out', () => {
  expect(orderRegions(regions, 'EU')).toEqual(['weur', 'eeur', 'enam', 'apac']);
  expect(orderRegions(regions, 'AS')).toEqual(['apac', 'enam', 'weur', 'eeur']);
  expect(orderRegions(['enam', 'weur-2'] as Region[], 'EU')).toEqual(['weur-2', 'enam']);
});

test('the order given is not changed', () => {
  const given = Object.freeze([...regions]);
  orderRegions(given, 'EU');
  expect(given).toEqual(regions);
});
