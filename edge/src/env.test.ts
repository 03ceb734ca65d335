import {
  bodyBytesInFlightMaxSelfHosted,
  bodyBytesInFlightMaxWorkers,
  bodyBytesKeptMaxSelfHosted,
  bodyBytesKeptMaxWorkers,
  bodyBytesMaxSelfHosted,
  bodyBytesMaxWorkers,
  prefixBlockBytesDefault,
  prefixMapsBytesMaxWorkers,
} from '@cognitora/protocol/limits';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { envOf, fleetSecret } from '../testing/env.ts';
import { settingsOf } from './env.ts';

test('what is not set has a default, but for the secrets', () => {
  expect(settingsOf(envOf())).toEqual({
    regions: ['local'],
    origins: undefined,
    layout: 'one-object',
    isSelfHosted: false,
    bodies: {
      bytesMax: bodyBytesMaxWorkers,
      bytesInFlightMax: bodyBytesInFlightMaxWorkers,
      bytesKeptMax: bodyBytesKeptMaxWorkers,
    },
    prefix: { salt: expect.stringMatching(/^[0-9a-f]{32}$/), blockBytes: prefixBlockBytesDefault },
    cellReplicasMax: undefined,
    mapsBytesMax: prefixMapsBytesMaxWorkers,
    keyMapsMax: 1,
    adminKeyHash: 'a'.repeat(64),
    fleetSecret,
  });
});

test('lists are split at commas, white space aside', () => {
  const env = envOf({
    REGIONS: ' weur, enam ',
    ORIGINS: 'https://a.example , http://b.example:8080',
    LAYOUT: 'object-per-node',
    PLATFORM: 'self-hosted',
  });
  expect(settingsOf(env)).toMatchObject({
    regions: ['weur', 'enam'],
    origins: ['https://a.example', 'http://b.example:8080'],
    layout: 'object-per-node',
    isSelfHosted: true,
    bodies: {
      bytesMax: bodyBytesMaxSelfHosted,
      bytesInFlightMax: bodyBytesInFlightMaxSelfHosted,
      bytesKeptMax: bodyBytesKeptMaxSelfHosted,
    },
  });
});

test.each([
  ['REGIONS', 'weur,'],
  ['REGIONS', ''],
  ['REGIONS', 'weur,EU West'],
  ['LAYOUT', 'one'],
  ['ADMIN_KEY_HASH', ''],
  ['ADMIN_KEY_HASH', 'A'.repeat(64)],
  ['ADMIN_KEY_HASH', 'a'.repeat(63)],
  ['FLEET_SECRET', ''],
  ['FLEET_SECRET', 'x'.repeat(31)],
] as const)('%s=%j is refused by name, and a secret is not repeated', (name, value) => {
  const error = errorOf(() => settingsOf(envOf({ [name]: value })));
  expect(error?.code).toBe('misconfigured');
  expect(error?.message).toContain(name);
  if (name === 'FLEET_SECRET' && value !== '') expect(error?.message).not.toContain(value);
});

test('settings are parsed once per environment', () => {
  const env = envOf();
  expect(settingsOf(env)).toBe(settingsOf(env));
  expect(settingsOf(envOf({ REGIONS: 'weur' })).regions).toEqual(['weur']);
});
