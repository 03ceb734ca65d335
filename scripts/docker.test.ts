/** What docker/ promises, read without Docker: pinned, without root, secrets or open ports, and of this version. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '@cognitora/protocol/version';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..');
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Instructions of a Dockerfile, with continued lines joined. */
const instructions = textOf('docker/Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => ({ word: line.split(' ')[0] ?? '', rest: line.slice(line.indexOf(' ') + 1) }));
const valuesOf = (word: string): string[] =>
  instructions.filter((each) => each.word === word).map(({ rest }) => rest);

interface Service {
  readonly image?: string;
  readonly build?: {
    readonly context: string;
    readonly dockerfile: string;
    readonly args: { VERSION: string };
  };
  readonly command: readonly string[];
  readonly network_mode?: string;
  readonly ports?: unknown;
  readonly privileged?: unknown;
  readonly environment?: unknown;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly volumes: readonly string[];
  readonly mem_limit?: string;
  readonly pids_limit?: number;
  readonly healthcheck?: { readonly test: readonly string[] };
}
const compose = parse(textOf('docker/compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const services = Object.entries(compose.services);

test('the base image is one, by its digest', () => {
  const bases = valuesOf('FROM');
  expect(bases).toHaveLength(1);
  expect(bases[0]).toMatch(/^debian:\w+-\d{8}-slim@sha256:[0-9a-f]{64}$/);
});

test('what runs is no root, and starts as a list of words', () => {
  const words = instructions.map(({ word }) => word);
  expect(words.lastIndexOf('USER')).toBeGreaterThan(words.lastIndexOf('RUN'));
  expect(Number(valuesOf('USER').at(-1))).toBeGreaterThan(0);
  for (const word of ['ENTRYPOINT', 'CMD']) expect(() => JSON.parse(valuesOf(word)[0] ?? '')).not.toThrow();
});

test('the image takes nothing from the network, no secret, and of this repository only bundles', () => {
  expect(valuesOf('ADD').join()).not.toMatch(/https?:/);
  expect(valuesOf('RUN').join()).not.toMatch(/curl|wget|apt-get|npm/);
  expect([...valuesOf('ARG'), ...valuesOf('ENV')].join()).not.toMatch(/token|secret|key|password/i);
  const ignored = textOf('docker/Dockerfile.dockerignore')
    .replace(/^#.*\n/gm, '')
    .trim()
    .split('\n');
  expect(ignored).toEqual(['*', '!dist/release/*/cognitora-*-linux-*.tar.gz']);
});

test('what it adds and starts is what a release of this version holds', () => {
  expect(valuesOf('ADD')).toEqual([
    `dist/release/\${VERSION}/cognitora-\${VERSION}-linux-\${TARGETARCH}.tar.gz /opt/`,
  ]);
  expect(valuesOf('RUN')[0]).toContain(`"/opt/cognitora-\${VERSION}/bin/cgn" /usr/local/bin/cgn`);
  const built = services.filter(([, service]) => service.build !== undefined);
  expect(built.map(([name, { build }]) => [name, build?.args.VERSION])).toEqual([['up', version]]);
  for (const [name, { image }] of services) expect(image, name).toBe(`cognitora:${version}`);
  expect(compose.services.up?.healthcheck?.test[1]).toBe(`/opt/cognitora-${version}/runtime/bin/node`);
});

test.each(services)('%s may do no more than it needs', (_, service) => {
  expect(service.read_only).toBe(true);
  expect(service.cap_drop).toEqual(['ALL']);
  expect(service.security_opt).toEqual(['no-new-privileges:true']);
  expect(service.mem_limit).toMatch(/^\d+g$/);
  expect(service.pids_limit).toBeGreaterThan(0);
  for (const wrong of ['privileged', 'ports', 'environment', 'devices', 'pid', 'ipc', 'env_file']) {
    expect(service).not.toHaveProperty(wrong);
  }
  // Volumes by name: nothing of the host is mounted, its Docker least of all.
  for (const volume of service.volumes) {
    expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0]);
    expect(volume.split(':')[1]).toBe(valuesOf('VOLUME')[0]);
  }
});

test.each(services)('%s is reached on loopback alone', (_, { network_mode, command }) => {
  // The host's network, where cgn listens on 127.0.0.1 unless told otherwise.
  expect(network_mode).toBe('host');
  expect(command.join(' ')).not.toMatch(/0\.0\.0\.0|\[?::\]?|--host|--resp|--listen/);
});
