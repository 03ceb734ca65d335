/** What the units forbid a service, and what they must leave it: GPUs, compiled code, shared memory. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readUnit } from './service-unit.ts';

const root = join(import.meta.dirname, '..');
/** At most this exposure by `systemd-analyze security`, of 10; what docs/design/0012-release.md states. */
const units = [
  ['docs/cognitora-agent.service', 2.3],
  ['docs/cognitora-kvcached.service', 1.4],
] as const;
const canAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;

describe.each(units)('%s', (path, exposureMax) => {
  const { valuesOf } = readUnit(path);

  test.each([
    ['NoNewPrivileges', 'yes'],
    ['CapabilityBoundingSet', ''],
    ['AmbientCapabilities', ''],
    ['ProtectSystem', 'strict'],
    ['ProtectHome', 'read-only'],
    ['ProtectProc', 'invisible'],
    ['PrivateTmp', 'yes'],
    ['PrivateMounts', 'yes'],
    ['RestrictNamespaces', 'yes'],
    ['RestrictAddressFamilies', 'AF_INET AF_INET6 AF_UNIX AF_NETLINK'],
    ['SystemCallArchitectures', 'native'],
    ['SystemCallErrorNumber', 'EPERM'],
    ['UMask', '0077'],
  ])('%s=%s', (setting, value) => {
    expect(valuesOf(setting)).toEqual([value]);
  });

  test.each([
    ['MemoryDenyWriteExecute', 'Node and engines compile'],
    ['RemoveIPC', 'engines of the same user share memory'],
    ['PrivateUsers', 'groups own GPUs, and the same user maps memory of kvcached'],
    ['ProcSubset', 'the agent reads /proc/meminfo'],
    ['PrivateNetwork', 'it is a network service'],
    ['IPAddressDeny', 'edge and peers are anywhere'],
  ])('no %s: %s', (setting) => {
    expect(valuesOf(setting)).toEqual([]);
  });

  test.skipIf(!canAnalyze)(`systemd rates its exposure ${exposureMax} at most`, () => {
    const argv = ['security', '--offline=true', '--no-pager', join(root, path)];
    const { stdout } = spawnSync('systemd-analyze', argv, { encoding: 'utf8' });
    const [, exposure = 'none'] = /Overall exposure level for .*: (\d+\.\d)/.exec(stdout) ?? [];
    expect(Number(exposure)).toBeLessThanOrEqual(exposureMax);
  });
});

test('the agent keeps the GPUs; kvcached has no device', () => {
  const [agent, kvcached] = units.map(([path]) => readUnit(path));
  for (const setting of ['PrivateDevices', 'DevicePolicy', 'DeviceAllow']) {
    expect(agent?.valuesOf(setting), setting).toEqual([]);
  }
  expect(kvcached?.valuesOf('PrivateDevices')).toEqual(['yes']);
  expect(kvcached?.valuesOf('DevicePolicy')).toEqual(['closed']);
});

test('the agent is denied what no engine needs; kvcached is allowed what a service needs, without privileges', () => {
  const [agent, kvcached] = units.map(([path]) => readUnit(path).valuesOf('SystemCallFilter'));
  expect(agent).toEqual(['~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @swap']);
  expect(kvcached).toEqual(['@system-service', '~@privileged @resources']);
});
