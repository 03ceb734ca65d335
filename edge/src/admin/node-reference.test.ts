import type { NodeId } from '@cognitora/protocol/ids';
import { errorOf } from '@cognitora/protocol/testing/bytes-in-pieces';
import { expect, test } from 'vitest';
import { nodeOf } from './node-reference.ts';

const named = (node: string, name: string) => ({ node: node as NodeId, name });
const enrolled = [named('naab', 'attic'), named('naac', 'cellar'), named('nb', 'shed')];

test.each([
  ['nb', 'nb'],
  ['naac', 'naac'],
  ['attic', 'naab'],
])('%j is the node %s', (reference, node) => {
  expect(nodeOf(reference, enrolled, []).node).toBe(node);
});

test('an id counts as such even where it begins others', () => {
  expect(nodeOf('na', [...enrolled, named('na', 'short')], []).name).toBe('short');
});

test('a host goes by the name it uses now, and not by the one it enrolled with', () => {
  const linked = [named('naab', 'loft')];
  expect(nodeOf('loft', enrolled, linked)).toEqual(named('naab', 'loft'));
  expect(errorOf(() => nodeOf('attic', enrolled, linked))?.code).toBe('not_found');
});

test('what may be several is refused with all of them', () => {
  const error = errorOf(() => nodeOf('na', enrolled, []));
  expect([error?.code, error?.message]).toEqual([
    'invalid_request',
    expect.stringMatching(/naab \(attic\), naac \(cellar\)\./),
  ]);
  // One host's name is the beginning of another's id.
  const both = errorOf(() => nodeOf('naa', [named('naab', 'x'), named('nc', 'naa')], []));
  expect(both?.message).toMatch(/naab \(x\), nc \(naa\)/);
});

test('of very many that are meant a few are listed', () => {
  const many = Array.from({ length: 30 }, (_, index) => named(`n${index}x`, 'twin'));
  const message = errorOf(() => nodeOf('twin', many, []))?.message ?? '';
  expect(message.match(/\(twin\)/g)).toHaveLength(8);
  expect(message).toContain(', and more.');
});

test('a node that nobody knows is not found', () => {
  expect(errorOf(() => nodeOf('x', enrolled, []))?.code).toBe('not_found');
});
