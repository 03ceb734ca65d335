import type { ReplicaName } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import type { EngineConfig } from '../engines/engine-config.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { slotDirectories } from './slot-directories.ts';

const handing = [...engineProfiles.values()].find(({ handsOver }) => handsOver === 'slots')?.name ?? '';
const others = [...engineProfiles.values()].filter(({ handsOver }) => handsOver !== 'slots');

const engine = (name: string, profile: string, source: Partial<EngineConfig['source']>) =>
  ({ name: name as ReplicaName, profile, source }) as EngineConfig;

test('an engine that is started moves KV if its profile hands slots over, and has a directory', () => {
  const kvDirectory = '/kv';
  const engines = [
    engine('r0', handing, { kind: 'launched', kvDirectory }),
    engine('r1', handing, { kind: 'launched', kvDirectory: undefined }),
    ...others.map(({ name }) => engine(name, name, { kind: 'launched', kvDirectory })),
  ];
  expect([...slotDirectories(engines, engineProfiles)]).toEqual([['r0', '/kv']]);
});

test('of one that runs already its directory says so', () => {
  const engines = [
    engine('r0', 'any', { kind: 'attached', kvDirectory: '/kv' }),
    engine('r1', 'any', { kind: 'attached', kvDirectory: undefined }),
  ];
  expect([...slotDirectories(engines, engineProfiles)]).toEqual([['r0', '/kv']]);
});
