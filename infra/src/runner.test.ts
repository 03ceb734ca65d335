/**
 * Pulumi's own runner loads each stack's program as its CLI starts it: TypeScript as it stands, with no compiler. What
 * it would tell Pulumi's engine is taken here, over the wire, on loopback.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Server, ServerCredentials, type UntypedHandleCall } from '@grpc/grpc-js';
import { MockMonitor } from '@pulumi/pulumi/runtime/mocks.js';
import empty from 'google-protobuf/google/protobuf/empty_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerOf, toldByCloud } from './testing/plan.ts';
import { leastConfig, publishersClone, secretKeys, type Target, targets } from './testing/stacks.ts';

const clone = publishersClone();
const infra = join(clone, 'infra');
const server = new Server();
let address = '';
let made: string[] = [];
let logged = '';

const mocks = new MockMonitor({
  newResource: ({ type, name, inputs }) => {
    made.push(type);
    return { id: `${name}-id`, state: { name, ...inputs, ...toldByCloud(type, name) } };
  },
  call: ({ token }) => answerOf(token),
});

/** One method of gRPC with one question and one answer. */
type Answer = (error: Error | null, response?: unknown) => void;
type Method = (request: never, answer: Answer) => unknown;
const unary = (method: Method): UntypedHandleCall =>
  ((call: { readonly request: never }, answer: Answer) =>
    method(call.request, answer)) as unknown as UntypedHandleCall;
const done: Method = (_, answer) => answer(null, new empty.Empty());

beforeAll(async () => {
  const { default: monitorService } = await import('@pulumi/pulumi/proto/resource_grpc_pb.js');
  const { default: monitor } = await import('@pulumi/pulumi/proto/resource_pb.js');
  const { default: engineService } = await import('@pulumi/pulumi/proto/engine_grpc_pb.js');
  const { default: engine } = await import('@pulumi/pulumi/proto/engine_pb.js');
  server.addService(monitorService.ResourceMonitorService, {
    supportsFeature: unary((request: InstanceType<typeof monitor.SupportsFeatureRequest>, answer) => {
      const response = new monitor.SupportsFeatureResponse();
      response.setHassupport(request.getId() === 'secrets');
      answer(null, response);
    }),
    invoke: unary((request, answer) => mocks.invoke(request, answer)),
    readResource: unary((request, answer) => mocks.readResource(request, answer)),
    registerResource: unary((request, answer) => mocks.registerResource(request, answer)),
    registerResourceOutputs: unary(done),
    signalAndWaitForShutdown: unary(done),
  });
  server.addService(engineService.EngineService, {
    log: unary((request: InstanceType<typeof engine.LogRequest>, answer) => {
      if (request.getSeverity() >= engine.LogSeverity.WARNING) logged += `${request.getMessage()}\n`;
      return done(request as never, answer);
    }),
    getRootResource: unary((_, answer) => answer(null, new engine.GetRootResourceResponse())),
    setRootResource: unary((_, answer) => answer(null, new engine.SetRootResourceResponse())),
  });
  const port = await new Promise<number>((accept, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) accept(bound);
      else reject(error);
    });
  });
  address = `127.0.0.1:${port}`;
});
afterAll(() => {
  server.forceShutdown();
  rmSync(clone, { recursive: true });
});

/** Its status, and what it printed. */
const run = (target: Target, config: Readonly<Record<string, string>>): Promise<string> => {
  const project = `cognitora-${target}`;
  const named = Object.entries(config).map(([key, value]) => [`${project}:${key}`, value]);
  const options = { monitor: address, engine: address, project, stack: 'prod', parallel: '8' };
  const argv = Object.entries(options).map(([key, value]) => `--${key}=${value}`);
  const program = join(infra, 'node_modules/@pulumi/pulumi/cmd/run');
  const child = spawn(process.execPath, [program, ...argv, 'index.ts'], {
    cwd: join(infra, 'stacks', target),
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      PULUMI_CONFIG: JSON.stringify(Object.fromEntries(named)),
      PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(secretKeys.map((key) => `${project}:${key}`)),
    },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      said += text;
    });
  }
  return new Promise((accept) => child.once('close', (status) => accept(`${status} ${said}`)));
};

test.each(targets)('the runner takes the program of %s', async (target) => {
  [made, logged] = [[], ''];
  expect(await run(target, leastConfig[target])).toBe('0 ');
  expect(made).toContain('pulumi:pulumi:Stack');
  expect(made.length).toBeGreaterThan(4);
  expect(logged).toBe('');
});

test('what is wrong with the configuration is told to whoever runs Pulumi', async () => {
  [made, logged] = [[], ''];
  await run('hetzner', { ...leastConfig.hetzner, hosts: 'many' });
  expect(logged).toMatch(/hosts must be a whole number from 0 to \d+, not "many"/);
  expect(made.filter((type) => type.startsWith('hcloud:'))).toEqual([]);
});
