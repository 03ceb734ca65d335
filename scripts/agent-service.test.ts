/** docs/cognitora-agent.service, held against what the agent, its configuration and this repository are. */
import { readFileSync } from 'node:fs';
import { configVariable, defaultConfigPath, sections, topKeys } from '@cognitora/node-agent/config/schema';
import { variableOf } from '@cognitora/protocol/config/schema';
import { expect, test } from 'vitest';
import { readUnit } from './service-unit.ts';

const { valuesOf, installed, missing, variables } = readUnit('docs/cognitora-agent.service');

test('it tells its manager when it is ready and that it lives, as the agent does', () => {
  expect(valuesOf('Type')).toEqual(['notify']);
  // systemd-notify, a child, tells it.
  expect(valuesOf('NotifyAccess')).toEqual(['all']);
  expect(Number(valuesOf('WatchdogSec')[0])).toBeGreaterThanOrEqual(10);
  expect(valuesOf('RestartPreventExitStatus')).toEqual(['2']);
});

test('what it runs of the installation is there, in a release as in a clone', () => {
  expect(installed).toContain('bin/cgn');
  expect(missing).toEqual([]);
});

test('its variables are the configuration’s', () => {
  const known = sections.flatMap((section) =>
    Object.keys(section.keys).map((key) => variableOf(section, key)),
  );
  expect(variables.length).toBeGreaterThan(2);
  expect(variables.filter((name) => name !== configVariable && !known.includes(name))).toEqual([]);
  expect(valuesOf('Environment').join(' ')).toContain(`${configVariable}=${defaultConfigPath}`);
});

test('what the configuration lets the agent write can be written, and where that must be said it is said', () => {
  const [state] = valuesOf('StateDirectory');
  expect(valuesOf('ProtectSystem')).toEqual(['strict']);
  expect(valuesOf('Environment').join(' ')).toContain(`COGNITORA_DATA_DIR=/var/lib/${state}/`);
  expect(valuesOf('#ReadWritePaths')).toEqual([JSON.parse(topKeys.kv_handover.example)]);
  const documentation = readFileSync(new URL('../docs/agent-config.md', import.meta.url), 'utf8');
  for (const key of ['kv_handover', 'kv_directory']) {
    const [, entry = ''] = documentation.split(`### \`${key}\``);
    expect(entry.split('###')[0], key).toContain('ReadWritePaths=');
  }
  expect(valuesOf('PrivateTmp')).toEqual(['yes']);
  expect(documentation.split('### `kv_events`')[1]?.split('###')[0]).toContain('/tmp');
});
