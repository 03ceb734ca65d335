/** 200,000 operations on three times what fits: what memory and disk take stays under what they were given. */
import { randomInt } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { residentBytes } from '../../bench/machine/process-figures.ts';
import { Client, startDaemon } from './daemon.ts';
import { metric, nameOf, temporaryDirectory, valueFor } from './values.ts';

const MiB = 2 ** 20;
const operations = 200_000;
const [ramMiB, diskMiB] = [128, 1024];
/** Node with its libraries takes 110 at rest, and its heap up to 170 of which a third is used: 380 were seen, flat. */
const besidesMiB = 320;
const valueBytes = 60_000;
const keys = Math.floor((3 * (ramMiB + diskMiB) * MiB) / valueBytes);
const clients = 16;

const diskBytes = (directory: string): number =>
  readdirSync(directory).reduce((sum, name) => {
    try {
      return sum + statSync(join(directory, name)).size;
    } catch {
      // Dropped between the listing and now.
      return sum;
    }
  }, 0);

test(`${operations} operations on three times what fits`, async () => {
  const directory = temporaryDirectory();
  const sizes = ['--ram', `${ramMiB}MiB`, '--disk', `${diskMiB}MiB`];
  const daemon = await startDaemon('--data-dir', directory, ...sizes);
  const peak = { rss: 0, disk: 0 };
  const counts = { stored: 0, refused: 0, found: 0, missing: 0, deleted: 0 };
  const look = (): void => {
    peak.rss = Math.max(peak.rss, residentBytes(daemon.pid));
    peak.disk = Math.max(peak.disk, diskBytes(join(directory, 'segments')));
  };
  const watch = setInterval(look, 50);
  let left = operations;
  const operate = async (client: Client): Promise<void> => {
    for (; left > 0; left -= 1) {
      const key = `k${randomInt(1 + randomInt(keys))}`;
      const chance = randomInt(100) / 100;
      if (chance < 0.5) {
        const bytes = randomInt(1_000, 2 * valueBytes - 1_000);
        const answer = await client.ask('SET', key, valueFor(key, bytes));
        if (answer === '+OK') counts.stored += 1;
        else {
          expect(answer).toMatch(/^-OOM /);
          counts.refused += 1;
        }
      } else if (chance < 0.98) {
        const value = await client.ask('GET', key);
        if (value === null) counts.missing += 1;
        else {
          expect(Buffer.isBuffer(value) && nameOf(value)).toBe(key);
          counts.found += 1;
        }
      } else {
        await client.ask('DEL', key);
        counts.deleted += 1;
      }
    }
  };
  const open = await Promise.all(Array.from({ length: clients }, () => Client.open(daemon.port)));
  await Promise.all(open.map(operate));
  clearInterval(watch);
  look();
  const peakMiB = { rss: Math.round(peak.rss / MiB), disk: Math.round(peak.disk / MiB) };
  process.stdout.write(`[figure] ${operations} operations: ${JSON.stringify({ ...counts, peakMiB })}\n`);
  expect(peak.disk).toBeLessThanOrEqual(diskMiB * MiB);
  expect(peak.rss).toBeLessThan((ramMiB + besidesMiB) * MiB);
  expect(await metric(daemon.statusUrl, 'cognitora_kv_corrupt_total')).toBe(0);
  expect(await metric(daemon.statusUrl, 'cognitora_kv_evictions_total{tier="ssd"}')).toBeGreaterThan(0);
}, 1_800_000);
