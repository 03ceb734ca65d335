/**
 * The limits of Cloudflare that can be tested on this machine: what the bundle weighs, what it costs to start, what it
 * may reach, and the memory of an isolate under load. What needs Cloudflare itself is listed in the README.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { residentBytes } from '../../bench/machine/process-figures.ts';
import { freePort } from '../../cli/src/free-port.ts';
import { bundlePath, startEdge } from '../../cli/src/workerd.ts';
import { buildEdge } from '../../scripts/build-edge.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId } from '../harness/http.ts';
import { until } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { socketsOf, workerdPid } from '../robustness/processes.ts';
import { PuppetEngine } from '../robustness/puppet-engine.ts';
import { ask, figure } from '../robustness/requests.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** Cloudflare takes 3 MB compressed on the free plan, 10 MB on the paid one; this is ours: a jump is a library. */
const bundleGzipBytesMax = 170 * KiB;
/** Cloudflare gives a Worker's top level 400 ms of CPU (1 s of late); ours on a machine that others use too. */
const topLevelCpuMsMax = 200;
/** From the start of workerd to its first answer, on two busy cores. */
const startMsMax = 5_000;
/** An isolate on Cloudflare has 128 MB; streams add less to the whole process, which holds more than the isolate. */
const streamsGrowthBytesMax = 128 * MiB;
const streams = 200;

describe('the bundle', () => {
  let bundle = '';
  beforeAll(() => {
    buildEdge();
    bundle = readFileSync(bundlePath, 'utf8');
  });

  test('is small', () => {
    const bytes = gzipSync(bundle).length;
    figure(`bundle: ${(bundle.length / KiB).toFixed(1)} KiB, ${(bytes / KiB).toFixed(1)} KiB gzip`);
    expect(bytes).toBeLessThan(bundleGzipBytesMax);
  });

  test('imports the platform and nothing else: no module of Node, nothing at run time', () => {
    const imports = [...bundle.matchAll(/^\s*(?:import|export)\b[^;'"]*?from\s*["']([^"']+)["']/gm)].map(
      ([, from]) => from,
    );
    expect(new Set(imports)).toEqual(new Set(['cloudflare:workers']));
    expect(bundle).not.toMatch(/\bimport\s*\(|\brequire\s*\(|["']node:/);
    // Forbidden on Workers, or slow there.
    expect(bundle).not.toMatch(/\beval\s*\(|new Function\s*\(/);
  });

  test('costs little to evaluate', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cognitora-bundle-'));
    try {
      // The platform's module, as far as the top level needs it.
      writeFileSync(join(directory, 'workers.mjs'), 'export class DurableObject {}\n');
      const path = join(directory, 'worker.mjs');
      writeFileSync(path, bundle.replaceAll('"cloudflare:workers"', '"./workers.mjs"'));
      const script = `const before = process.cpuUsage();
        const worker = await import(${JSON.stringify(pathToFileURL(path).href)});
        const { user, system } = process.cpuUsage(before);
        console.log(JSON.stringify({ ms: (user + system) / 1000, exports: Object.keys(worker) }));`;
      const said = await outputOf(['--input-type=module', '-e', script]);
      const { ms, exports } = JSON.parse(said) as { ms: number; exports: string[] };
      figure(`bundle: top level evaluated in ${ms.toFixed(1)} ms of CPU`);
      expect(exports.sort()).toEqual(['NodeLink', 'Region', 'Registry', 'default']);
      expect(ms).toBeLessThan(topLevelCpuMsMax);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('answers soon after workerd starts', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cognitora-start-'));
    const port = await freePort();
    const startedMs = performance.now();
    const edge = await startEdge({
      dataDirectory: directory,
      host: '127.0.0.1',
      port,
      regions: ['local'],
      layout: 'one-object',
      adminKeyHash: '0'.repeat(64),
      fleetSecret: 'x'.repeat(32),
      origins: [],
      onOutput: () => {},
      onExit: () => {},
    });
    try {
      const answer = await fetch(`${edge.url}/healthz`);
      const ms = performance.now() - startedMs;
      figure(`workerd: first /healthz ${ms.toFixed(0)} ms after its start`);
      expect(answer.status).toBe(200);
      expect(ms).toBeLessThan(startMsMax);
    } finally {
      await edge.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe.each(layouts)('under load, layout %s', (layout) => {
  const engine = new PuppetEngine();
  beforeAll(() => engine.start());
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, agents: [{ name: 'gpu', engines: [engine.url] }] }));

  test('the Worker serves with no way out: outgoing connections of a request are none', async () => {
    const config = readFileSync(join(fixture.cluster.directory, 'edge/config.capnp'), 'utf8');
    expect(config).toContain('globalOutbound = "nowhere"');
    expect(config.match(/network = \(.*\)/g)).toEqual([expect.stringContaining('network = (allow = [])')]);
    expect((await ask(fixture.cluster, freshId(), {})).status).toBe(200);
    // Of the edge's own sockets each was accepted: none was opened towards anyone.
    expect(
      outgoingOf(workerdPid(fixture.cluster.directory), Number(new URL(fixture.cluster.url).port)),
    ).toEqual([]);
  });

  test(`${streams} streams at once fit an isolate`, async () => {
    const { cluster } = fixture;
    const pid = workerdPid(cluster.directory);
    await ask(cluster, freshId(), {});
    const idleBytes = residentBytes(pid);
    let peakBytes = idleBytes;
    const all = Array.from({ length: streams }, () =>
      ask(cluster, freshId(), { act: 'drip', events: 20, everyMs: 150, eventBytes: 250 }),
    );
    let isOver = false;
    const over = Promise.all(all).finally(() => {
      isOver = true;
    });
    await until(
      'the streams to end',
      () => {
        peakBytes = Math.max(peakBytes, residentBytes(pid));
        return isOver;
      },
      40_000,
    );
    const answers = await over;
    const [idle, peak] = [idleBytes, peakBytes].map((bytes) => (bytes / MiB).toFixed(1));
    figure(`${layout}: workerd idle ${idle} MiB, with ${streams} streams at most ${peak} MiB`);
    expect(answers.every(({ isWhole, body }) => isWhole && body.includes('"19 '))).toBe(true);
    expect(peakBytes - idleBytes).toBeLessThan(streamsGrowthBytesMax);
  });
});

const outputOf = (argv: readonly string[]): Promise<string> =>
  new Promise((accept, reject) => {
    const child = spawn(process.execPath, [...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (part: Buffer) => {
      said += part.toString();
    });
    child.once('error', reject);
    child.once('close', () => accept(said));
  });

/** Established TCP connections of a process whose own port is not `listensAt`. */
const outgoingOf = (pid: number, listensAt: number): readonly string[] => {
  const established = '01';
  const own = socketsOf(pid);
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state = '', , , , , , inode = '']) => {
      const port = Number.parseInt(local.split(':')[1] ?? '', 16);
      return state === established && port !== listensAt && own.has(inode);
    })
    .map(([, local, remote]) => `${local} -> ${remote}`);
};
