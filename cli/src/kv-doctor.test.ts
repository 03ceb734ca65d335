import type { NodeId } from '@cognitora/protocol/ids';
import {
  type KvNamespace,
  type KvProbe,
  type NamespaceFields,
  tellsNoAddress,
} from '@cognitora/protocol/kv-daemon';
import { canonicalFields } from '@cognitora/protocol/kv-daemon-bodies';
import { expect, test } from 'vitest';
import { differences, mismatches, probed } from './kv-doctor.ts';

/** Equal fields have equal names; that they are hashes is not looked at here. */
const of = (fields: NamespaceFields): KvNamespace => ({ namespace: canonicalFields(fields), fields });

const peer = (...fields: readonly NamespaceFields[]): KvProbe => ({
  node: `n${'a'.repeat(26)}` as NodeId,
  name: 'b',
  isOk: true,
  namespaces: fields.map(of),
});

const ours = { model: 'm', dtype: 'bf16', layout: 'tp1', more: { seed: 0 } } as const;

test('each field in which two namespaces differ is named, with both values', () => {
  expect(differences(of(ours), of({ model: 'm', dtype: 'fp8', layout: 'tp1' }))).toEqual([
    ['dtype', '"bf16"', '"fp8"'],
    ['more.seed', '0', 'nothing'],
  ]);
});

test('of a model that both have and do not share, the nearest pair says why', () => {
  const [finding, ...more] = mismatches(
    [of(ours)],
    peer({ ...ours, layout: 'tp2', dtype: 'x' }, { ...ours, layout: 'tp2' }),
  );
  expect(more).toEqual([]);
  expect(finding).toMatchObject({
    what: 'm with b',
    outcome: 'note',
    says: 'nothing is shared: layout is "tp1" here and "tp2" there',
  });
});

test('what is shared, or one alone has, is nobody’s mistake', () => {
  expect(mismatches([of(ours)], peer({ ...ours, layout: 'tp2' }, ours))).toEqual([]);
  expect(mismatches([of(ours)], peer({ model: 'other' }))).toEqual([]);
  expect(mismatches([], peer(ours))).toEqual([]);
});

test.each([
  [tellsNoAddress, /^Start it there, .*cgn kv doctor/],
  ['tls 10.0.0.7:6381 refused', /of the fleet no more/],
  ['the connection ended: connection lost', /of the fleet no more/],
  ['tls 10.0.0.7:6381 unreachable, quic 10.0.0.7:6381 unreachable', /a firewall\?/],
])('a peer that is not reached, since %s, gets the advice that fits', (why, fix) => {
  const finding = probed({ ...peer(), isOk: false, why });
  expect(finding).toMatchObject({ outcome: 'failed', fix: expect.stringMatching(fix) });
});
