import { expect, test } from 'vitest';
import { nodes } from './nodes.ts';

test.each([
  [['frobnicate'], 'cgn nodes ls | cordon | uncordon | drain | rm'],
  [['constructor', 'x'], 'Say what'],
  [['ls', 'x'], 'Say what'],
  [['cordon'], 'Name one node: cgn nodes cordon NODE'],
  [['rm', 'a', 'b'], 'Name one node'],
  [['cordon', 'a', '--force'], '--force is for "cgn nodes rm"'],
  [['rm', 'a', '--timeout', '1m'], '--timeout is for "cgn nodes drain"'],
  [['drain', 'a', '--timeout', 'soon'], '--timeout must be like'],
])('"cgn nodes" with %j says what is wrong before it asks the edge', async (argv, words) => {
  await expect(nodes([...argv, '--edge', 'http://127.0.0.1:1'])).rejects.toThrow(words);
});
