import type { ReplicaName } from '@cognitora/protocol/ids';
import type { Telemetry } from '@cognitora/protocol/telemetry';
import { expect, onTestFinished, test } from 'vitest';
import { launchedEngine } from '../../testing/launch-plans.ts';
import { Engine } from '../engines/engine.ts';
import type { EngineConfig } from '../engines/engine-config.ts';
import { ReplicaCounters } from '../status/counters.ts';
import { HostTelemetry } from './host-telemetry.ts';

const log = (): void => {};

/** What a host with two GPUs tells of replicas with these sources, of which nothing else is known. */
const told = (
  sources: Readonly<Record<string, EngineConfig['source']>>,
): readonly Telemetry['replicas'][] => {
  const replicas = Object.entries(sources).map(([text, source]) => {
    const name = text as ReplicaName;
    const engine = new Engine({
      ...{ name, url: new URL('http://127.0.0.1:9'), apiKey: undefined, aliases: new Map(), log },
      onChange: () => {},
    });
    return { engine, config: { name, source }, counters: new ReplicaCounters(), metrics: undefined };
  });
  const telemetry = new HostTelemetry({
    ...{ replicas, log, clock: { wallMs: () => 0, monotonicMs: () => 0 } },
    sources: [
      {
        name: 'scripted',
        start: ({ onGpu }) => {
          for (const gpu of [0, 1]) onGpu({ gpu, watts: 300 });
          return () => {};
        },
      },
    ],
  });
  telemetry.start();
  onTestFinished(() => telemetry.stop());
  const heard: Telemetry['replicas'][] = [];
  telemetry.linked({ measured: (figures) => heard.push(figures.replicas) > 0 });
  telemetry.tell();
  return heard;
};

test('a started engine that names no GPU has all of the host, one that names some has those', () => {
  const sources = { all: launchedEngine({ gpus: [] }), second: launchedEngine({ gpus: [1] }) };
  expect(told(sources)).toEqual([
    [
      { name: 'all', gpus: [0, 1] },
      { name: 'second', gpus: [1] },
    ],
  ]);
});

test('of an engine that runs already and names no GPU nothing is told', () => {
  const attached = { kind: 'attached', url: new URL('http://127.0.0.1:9') } as const;
  const more = { kvEvents: undefined, kvDirectory: undefined };
  const sources = { silent: { ...attached, ...more, gpus: [] }, named: { ...attached, ...more, gpus: [0] } };
  expect(told(sources)).toEqual([[{ name: 'named', gpus: [0] }]]);
});
