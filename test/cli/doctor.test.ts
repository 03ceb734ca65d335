/** `cgn doctor` as a person runs it: real programs, fakes in the place of engines that are not here. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Kind, LivingFake } from '../fakes/engines/fake.ts';
import { kinds } from '../fakes/engines/kinds.ts';
import { cgn } from './run-cgn.ts';

interface Finding {
  readonly what: string;
  readonly outcome: string;
  readonly says: string;
}

const fakeProgram = join(import.meta.dirname, '../fakes/engine-program.ts');
const directory = mkdtempSync(join(tmpdir(), 'cognitora-doctor-'));
let edge: Server;
let edgeUrl = '';
let vllm: LivingFake;

beforeAll(async () => {
  edge = createServer((request, response) =>
    response.writeHead(request.url === '/healthz' ? 200 : 404).end(),
  );
  await new Promise<void>((resolve) => edge.listen(0, '127.0.0.1', resolve));
  edgeUrl = `http://127.0.0.1:${(edge.address() as AddressInfo).port}`;
  vllm = await new LivingFake(kinds.get('vllm') as Kind, { models: ['m'] }).start();
});
afterAll(async () => {
  edge.close();
  await vllm.stop();
  rmSync(directory, { recursive: true, force: true });
});

let files = 0;
const doctor = async (engines: string) => {
  files += 1;
  const file = join(directory, `${files}.toml`);
  writeFileSync(file, `edge = "${edgeUrl}"\ndata_dir = "${directory}/agent"\n${engines}`);
  const { status, out, errors } = await cgn(['doctor', '--config', file, '--json'], {
    COGNITORA_JOIN_TOKEN: `cgj_${Buffer.alloc(32, 7).toString('base64url')}`,
  });
  expect(errors).toBe('');
  const { ok, checks } = JSON.parse(out) as { ok: boolean; checks: readonly Finding[] };
  const found = Object.fromEntries(checks.map(({ what, outcome, says }) => [what, `${outcome}: ${says}`]));
  return { status, ok, found };
};

const launched = (profile: string, more = ''): string =>
  `[[engine]]\nprofile = "${profile}"\nmodel = "some/model"\ncommand = "${fakeProgram}"\n${more}\n` +
  `environment = { FAKE_ENGINE = "${profile}" }\n`;

test.each([
  ['vllm', 'kv_offload = "nixl"', 'ok: "vllm" is verified'],
  ['sglang', 'kv_offload = "hicache"', 'note: "sglang" is unverified'],
  ['llama-cpp', '', 'ok: "llama-cpp" is verified'],
  ['trtllm', 'kv_offload = "kvbm"', 'note: "trtllm" is unverified'],
  ['ollama', '', 'note: "ollama" is unverified'],
])('%s knows the options of its profile, whose standing is told', async (profile, more, standing) => {
  const { status, ok, found } = await doctor(launched(profile, more));
  expect(found['engine r0: options']).toMatch(/^ok: it knows all \d+ options/);
  expect(found['engine r0: profile']).toContain(standing);
  expect({ status, ok }).toEqual({ status: 0, ok: true });
});

test('the embedded engine knows the options of its profile', async () => {
  const { status, found } = await doctor('[[engine]]\nprofile = "embedded"\nmodel = "tiny"\n');
  expect(found['engine r0: options']).toMatch(/^ok: it knows all \d+ options/);
  expect(status).toBe(0);
});

test('an engine of another kind than was configured does not know what it would get', async () => {
  const { status, ok, found } = await doctor(launched('vllm').replace('"vllm" }', '"ollama" }'));
  expect(found['engine r0: options']).toContain('failed:');
  expect(found['engine r0: options']).toContain('--kv-events-config');
  expect({ status, ok }).toEqual({ status: 1, ok: false });
});

test('running engines and the KV daemon are asked where they are', async () => {
  const socket = join(directory, 'kv.sock');
  const daemon = createServer(({ url }, response) =>
    response.writeHead(url === '/v1/stat' ? 200 : 404).end(),
  );
  await new Promise<void>((resolve) => daemon.listen(socket, resolve));
  const up = `[[engine]]\nprofile = "vllm"\nurl = "${vllm.url}/v1"\n`;
  const down = '[[engine]]\nprofile = "vllm"\nurl = "http://127.0.0.1:1"\n';
  const { status, found } = await doctor(`kvcached = "${socket}"\n${up}${down}`);
  daemon.close();
  expect(found.kvcached).toBe(`ok: ${socket} answers`);
  expect(found['engine r0: API']).toBe(`ok: ${vllm.url} lists 1 model`);
  expect(found['engine r1: API']).toContain('failed: http://127.0.0.1:1/v1/models does not answer');
  expect(status).toBe(1);
});

test('a person reads what failed and what to do', async () => {
  const { status, out } = await cgn(['doctor', '--edge', 'http://127.0.0.1:1', '--engine-url', vllm.url]);
  expect(out).toMatch(/^ok +node: /m);
  expect(out).toMatch(/^FAILED +edge: http:\/\/127\.0\.0\.1:1 does not answer: .*\n +-> Correct the URL/m);
  expect(out).toMatch(/\d failed\.$/m);
  expect(status).toBe(1);
});

test('where no agent is configured that is no failure', async () => {
  const { status, out } = await cgn(['doctor']);
  expect(out).toMatch(/^note +configuration: no agent is configured here; name --config or --edge$/m);
  expect(status).toBe(0);
});

test('a host that has not joined and has no token could not start', async () => {
  const { out } = await cgn(['doctor', '--edge', edgeUrl, '--engine-url', vllm.url, '--data-dir', directory]);
  expect(out).toMatch(/^FAILED +join: this host has not joined .*no join token is given$/m);
});

test('a configuration that cannot be read is a finding like others', async () => {
  const { status, found } = await doctor(
    'prot = 1\n[[engine]]\nprofile = "openai"\nurl = "http://127.0.0.1:1"\n',
  );
  expect(found.configuration).toMatch(/^failed: .*prot/);
  expect(found.node).toMatch(/^ok/);
  expect(status).toBe(1);
});
