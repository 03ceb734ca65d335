/** docs/cognitora-kvcached.service, held against what kvcached, its configuration and this repository are. */
import { parseOptions } from '@cognitora/kvcache/config/parse';
import { defaultConfigPath, mirrorKeys, sections } from '@cognitora/kvcache/config/schema';
import { variableOf } from '@cognitora/protocol/config/schema';
import { expect, test } from 'vitest';
import { readUnit } from './service-unit.ts';

const { valuesOf, installed, missing, variables } = readUnit('docs/cognitora-kvcached.service');
const agent = readUnit('docs/cognitora-agent.service');

const environment = Object.fromEntries(
  valuesOf('Environment')
    .flatMap((line) => line.split(' '))
    .map((pair) => pair.split('=', 2)),
) as Readonly<Record<string, string>>;

test('what it runs of the installation is there, in a release as in a clone', () => {
  expect(installed).toContain('bin/cgn');
  expect(missing).toEqual([]);
});

test('its variables are the configuration’s, and with them alone kvcached runs', () => {
  const known = sections.flatMap((section) =>
    Object.keys(section.keys).map((key) => variableOf(section, key)),
  );
  expect(variables.length).toBeGreaterThan(1);
  expect(variables.filter((name) => !known.includes(name))).toEqual([]);
  expect(defaultConfigPath).toBe('/etc/cognitora/kvcached.toml');
  const parsed = parseOptions([], environment, '/nonexistent/kvcached.toml');
  expect(parsed).toMatchObject({ options: { socket: '/var/lib/cognitora/kvcached/kvcached.sock' } });
});

test('it writes where it may, as the agent’s user, whose key it reads', () => {
  const [state] = valuesOf('StateDirectory');
  expect(valuesOf('ProtectSystem')).toEqual(['strict']);
  expect(environment.COGNITORA_KV_DATA_DIR).toBe(`/var/lib/${state}/kvcached`);
  expect(valuesOf('#ReadWritePaths')).toEqual([JSON.parse(mirrorKeys.directory.example)]);
  for (const setting of ['User', 'StateDirectory', 'StateDirectoryMode']) {
    expect(valuesOf(setting), setting).toEqual(agent.valuesOf(setting));
  }
  const [data] = /(?<=COGNITORA_DATA_DIR=)\S+/.exec(agent.valuesOf('Environment').join(' ')) ?? [];
  expect(environment.COGNITORA_KV_IDENTITY).toBe(`${data}/node.key`);
});

test('a wrong configuration is not tried again, and an end has its time', () => {
  expect(valuesOf('RestartPreventExitStatus')).toEqual(['2']);
  expect(valuesOf('KillMode')).toEqual(['mixed']);
  expect(Number(valuesOf('TimeoutStopSec')[0])).toBeGreaterThanOrEqual(60);
});
