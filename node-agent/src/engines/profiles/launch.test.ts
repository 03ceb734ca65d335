import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launchedEngine, launchPlan } from '../../../testing/launch-plans.ts';
import {
  type AttachedEngine,
  type EngineConfig,
  type KvOffload,
  kvOffloads,
  type LaunchedEngine,
  type Role,
  roles,
} from '../engine-config.ts';
import { offersOf } from '../looks-of.ts';
import { configProblem, type Launch, LaunchImpossible, launchOf, offloadProblem } from './launch.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';
import { engineProfiles } from './profiles.ts';

const profileOf = (name: string): EngineProfile => {
  const profile = engineProfiles.get(name);
  if (profile === undefined) throw new Error(`no profile ${name}`);
  return profile;
};

const root = join(import.meta.dirname, '../../../..');
const shown = (word: string): string => {
  if (word === process.execPath) return 'node';
  return word.startsWith(root) ? relative(root, word) : word;
};

/** As a person would type it: variables, then the program, an option with its value on each line. */
const asTyped = (profile: EngineProfile, plan: LaunchPlan): string => {
  try {
    return typed(launchOf(profile, plan));
  } catch (thrown) {
    if (thrown instanceof LaunchImpossible) return thrown.message;
    throw thrown;
  }
};

const typed = ({ program, argv, environment, files }: Launch): string => {
  const lines = [...environment].map(([name, value]) => `${name}=${value}`);
  lines.push(shown(program));
  for (const word of argv) {
    const quoted = /^[\w@%+=:,./-]+$/.test(word) ? shown(word) : `'${word}'`;
    if (word.startsWith('-') || lines.length === 0) lines.push(`  ${quoted}`);
    else lines.push(`${lines.pop()} ${quoted}`);
  }
  const written = [...files].map(
    ([path, content]) => `${path}:\n${content.replaceAll(/^/gm, '  ').trimEnd()}`,
  );
  return [lines.join(' \\\n'), ...written].join('\n');
};

type Topology = readonly [
  name: string,
  plans: (of: Pick<LaunchPlan, 'kvOffload' | 'role'>, profile: EngineProfile) => readonly LaunchPlan[],
];

const topologies: readonly Topology[] = [
  ['1 GPU', (of) => [launchPlan(of)]],
  ['2 replicas', (of) => [launchPlan(of), launchPlan(of, 1)]],
  [
    'tensor parallel 2',
    (of) => [launchPlan({ config: launchedEngine({ gpus: [0, 1], tensorParallel: 2 }), ...of })],
  ],
  [
    '1 GPU, with a name and a directory where it takes them, and what the configuration adds',
    (of, { launching }) => [
      launchPlan({
        config: launchedEngine({
          servedName: launching?.namesModel ? 'qwen' : undefined,
          kvDirectory: launching?.keepsKvOnDisk.includes(of.kvOffload) ? '/var/lib/kv' : undefined,
          arguments: ['--seed', '7'],
          environment: new Map([['HF_HUB_OFFLINE', '1']]),
        }),
        ...of,
      }),
    ],
  ],
];

const section = (profile: EngineProfile, kvOffload: KvOffload, role: Role): string => {
  const title = `## ${profile.name}, kv_offload ${kvOffload}, role ${role}`;
  const problem = offloadProblem(profile, kvOffload, role);
  if (problem !== undefined) return `${title}\n\n${problem}`;
  const launches = topologies.map(([name, plans]) => {
    const replicas = plans({ kvOffload, role }, profile).map((plan) => asTyped(profile, plan));
    return `### ${name}\n\n${replicas.join('\n\n')}`;
  });
  return [title, ...launches].join('\n\n');
};

const launchable = [...engineProfiles.values()].filter(({ launching }) => launching !== undefined);

test.each(launchable)(
  '$name is launched as its golden file says, for each offload, role and topology',
  async (profile) => {
    const sections = kvOffloads.flatMap((kvOffload) =>
      roles.map((role) => section(profile, kvOffload, role)),
    );
    const text = `# What runs, by launch.test.ts\n\n${sections.join('\n\n')}\n`;
    await expect(text).toMatchFileSnapshot(`golden/${profile.name}.txt`);
  },
);

test('the pairs that engines have are these', () => {
  const pairs = [...engineProfiles.values()].map(({ name, offloads }) => {
    const named = Object.entries(offloads).map(([offload, of]) => `${offload}: ${of.join(' ')}`);
    return `${name} - ${named.join('; ')}`;
  });
  expect(pairs).toEqual([
    'vllm - none: both; nixl: both prefill decode; lmcache: both; hicache: both; kvbm: both',
    'sglang - none: both; nixl: prefill decode; lmcache: both; hicache: both',
    'llama-cpp - none: both',
    'trtllm - none: both; nixl: both prefill decode; hicache: both; kvbm: both',
    'ollama - none: both',
    'openai - none: both',
    'embedded - none: both',
  ]);
});

const recordings = join(root, 'test/fakes/recordings');

test('what a profile says was recorded is there, and what is there is said', () => {
  const said = [...engineProfiles.values()].flatMap(({ evidence }) =>
    evidence.flatMap((one) => (one.kind === 'recorded' ? [one.folder] : [])),
  );
  expect(said.sort()).toEqual(readdirSync(recordings).sort());
});

/** Recorded from `--help=all` of the release that the folder's README names. */
test('the recorded vLLM knows every option that it is started with', () => {
  const known = new Set(readFileSync(join(recordings, 'vllm/help-options.txt'), 'utf8').split('\n'));
  const options = kvOffloads.flatMap((kvOffload) => {
    const keepsKv = profileOf('vllm').launching?.keepsKvOnDisk.includes(kvOffload);
    const kvDirectory = keepsKv ? '/kv' : undefined;
    const config = launchedEngine({ servedName: 'm', tensorParallel: 2, kvDirectory });
    return launchOf(profileOf('vllm'), launchPlan({ config, kvOffload })).argv.filter((word) =>
      word.startsWith('--'),
    );
  });
  expect(options.length).toBeGreaterThan(20);
  expect(options.filter((option) => !known.has(option))).toEqual([]);
});

describe('a launch', () => {
  test('of a pair that the engine does not have is refused with those that it has', () => {
    expect(() => launchOf(profileOf('sglang'), launchPlan({ kvOffload: 'kvbm' }))).toThrow(
      new LaunchImpossible(
        'kv_offload "kvbm" in the role "both" is not possible with "sglang". Possible are, with their roles: ' +
          'none (both), nixl (prefill, decode), lmcache (both), hicache (both).',
      ),
    );
  });

  test('has the same hash seed whichever engine it is', () => {
    for (const profile of launchable) {
      expect(launchOf(profile, launchPlan()).environment.get('PYTHONHASHSEED'), profile.name).toBe('0');
    }
  });

  test('takes what the configuration says over what the profile says', () => {
    const config = launchedEngine({
      command: '/opt/vllm/bin/vllm',
      gpus: [2, 3],
      arguments: ['--port', '1'],
      environment: new Map([
        ['PYTHONHASHSEED', '5'],
        ['LMCACHE_LOCAL_CPU', 'False'],
      ]),
    });
    const launch = launchOf(profileOf('vllm'), launchPlan({ config, kvOffload: 'lmcache' }));
    expect(launch.program).toBe('/opt/vllm/bin/vllm');
    expect(launch.argv.slice(-2)).toEqual(['--port', '1']);
    expect(Object.fromEntries(launch.environment)).toMatchObject({
      PYTHONHASHSEED: '5',
      LMCACHE_LOCAL_CPU: 'False',
      CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
      CUDA_VISIBLE_DEVICES: '2,3',
    });
  });

  test.each<[profile: string, kvOffload: KvOffload, size: string]>([
    ['vllm', 'lmcache', 'LMCACHE_MAX_LOCAL_DISK_SIZE'],
    ['sglang', 'lmcache', 'LMCACHE_MAX_LOCAL_DISK_SIZE'],
    ['vllm', 'kvbm', 'DYN_KVBM_DISK_CACHE_GB'],
    ['trtllm', 'kvbm', 'DYN_KVBM_DISK_CACHE_GB'],
  ])(
    'of %s with %s says how much of its directory may be used, or it would use none',
    (name, kvOffload, size) => {
      const sizeIn = (kvDirectory: string | undefined) =>
        launchOf(
          profileOf(name),
          launchPlan({ config: launchedEngine({ kvDirectory }), kvOffload }),
        ).environment.get(size);
      expect(Number(sizeIn('/kv'))).toBeGreaterThan(0);
      expect(sizeIn(undefined)).toBeUndefined();
    },
  );

  test('pins no GPU where none is named', () => {
    const launch = launchOf(profileOf('vllm'), launchPlan({ config: launchedEngine({ gpus: [] }) }));
    expect([...launch.environment.keys()].filter((name) => name.startsWith('CUDA'))).toEqual([]);
  });

  test('says where its events are heard, when the profile subscribes to them', () => {
    for (const profile of launchable) {
      const { kvEvents } = launchOf(profile, launchPlan());
      expect(kvEvents?.events, profile.name).toBe(
        profile.kvEvents?.kind === 'zmq' ? 'ipc:///var/lib/cognitora/r0/kv-events' : undefined,
      );
    }
  });

  test('has no events where the path of their socket would be too long', () => {
    const directory = `/${'x'.repeat(100)}`;
    expect(() => launchOf(profileOf('vllm'), launchPlan({ directory }))).toThrow('take a shorter data_dir');
    expect(() => launchOf(profileOf('llama-cpp'), launchPlan({ directory }))).not.toThrow();
  });

  test('writes its files into the directory that it was given, and names them in its arguments', () => {
    const { argv, files } = launchOf(profileOf('trtllm'), launchPlan());
    const paths = [...files.keys()];
    expect(paths).toEqual(['/var/lib/cognitora/r0/trtllm.yaml']);
    expect(argv).toContain(paths[0]);
  });
});

describe('a configuration', () => {
  const attached: AttachedEngine = {
    kind: 'attached',
    url: new URL('http://127.0.0.1:8000'),
    kvEvents: undefined,
    gpus: [],
    kvDirectory: undefined,
  };
  const events = { events: 'tcp://127.0.0.1:5557', replay: undefined };
  const engineOf = (profile: string, source: EngineConfig['source']): EngineConfig => ({
    name: 'r0' as EngineConfig['name'],
    profile,
    role: 'both',
    kvOffload: 'none',
    source,
    aliases: new Map(),
    apiKey: undefined,
  });
  const problemOf = (profile: string, source: EngineConfig['source'], more: Partial<EngineConfig> = {}) =>
    configProblem(profileOf(profile), { ...engineOf(profile, source), ...more });

  test('is fine where the engine has what it asks for', () => {
    expect(problemOf('vllm', launchedEngine({ tensorParallel: 4 }))).toBeUndefined();
    expect(problemOf('openai', attached)).toBeUndefined();
    expect(problemOf('vllm', { ...attached, kvEvents: events })).toBeUndefined();
    // Whatever speaks so is heard.
    expect(problemOf('openai', { ...attached, kvEvents: events })).toBeUndefined();
  });

  test('launches only what has a program', () => {
    expect(problemOf('openai', launchedEngine())).toContain('can only be attached');
  });

  test('splits no model that the engine cannot split', () => {
    expect(problemOf('embedded', launchedEngine({ tensorParallel: 2 }))).toContain("can't split a model");
  });

  test('says nothing that would be dropped: who keeps KV in a directory, and who names its model', () => {
    const directories = launchable.map(({ name, offloads }) => {
      const pairs = Object.keys(offloads) as KvOffload[];
      const kept = pairs.filter((kvOffload) => {
        const role = offloads[kvOffload]?.[0] ?? 'both';
        return problemOf(name, launchedEngine({ kvDirectory: '/kv' }), { kvOffload, role }) === undefined;
      });
      return `${name}: ${kept.join(' ')}`.trimEnd();
    });
    expect(directories).toEqual([
      'vllm: lmcache hicache kvbm',
      'sglang: lmcache hicache',
      'llama-cpp: none',
      'trtllm: kvbm',
      'ollama:',
      'embedded: none',
    ]);
    const named = launchable.filter(
      ({ name }) => problemOf(name, launchedEngine({ servedName: 'q' })) === undefined,
    );
    expect(named.map(({ name }) => name)).toEqual(['vllm', 'sglang', 'llama-cpp', 'trtllm', 'embedded']);
  });

  test('has the directory and the name that its profile takes in what is run', () => {
    for (const profile of launchable) {
      const { namesModel = false, keepsKvOnDisk = [] } = profile.launching ?? {};
      for (const kvOffload of Object.keys(profile.offloads) as KvOffload[]) {
        const role = profile.offloads[kvOffload]?.[0] ?? 'both';
        const takes = keepsKvOnDisk.includes(kvOffload);
        const config = launchedEngine({
          servedName: namesModel ? 'its-name' : undefined,
          kvDirectory: takes ? '/its/kv' : undefined,
        });
        const { argv, environment } = launchOf(profile, launchPlan({ config, kvOffload, role }));
        const all = [...argv, ...environment.values()].join(' ');
        expect([all.includes('/its/kv'), all.includes('its-name')], `${profile.name} ${kvOffload}`).toEqual([
          takes,
          namesModel,
        ]);
      }
    }
  });

  test.each<[profile: string, kvOffload: KvOffload, more: Partial<LaunchedEngine>, words: string]>([
    [
      'vllm',
      'nixl',
      { kvDirectory: '/kv' },
      '"vllm" with kv_offload "nixl" keeps no KV on disk: leave kv_directory out, ' +
        'or take a kv_offload that does: "lmcache", "hicache", "kvbm".',
    ],
    [
      'ollama',
      'none',
      { kvDirectory: '/kv' },
      '"ollama" with kv_offload "none" keeps no KV on disk: leave kv_directory out.',
    ],
    [
      'ollama',
      'none',
      { servedName: 'q' },
      '"ollama" names its models itself: in place of served_name use aliases = { PUBLIC = "SERVED" }.',
    ],
  ])('is told what to do instead: %s %s %o', (name, kvOffload, more, words) => {
    expect(problemOf(name, launchedEngine(more), { kvOffload })).toBe(words);
  });

  test('offers of an engine that serves whatever it has only its model', () => {
    const offers = (model: string) => {
      const offered = offersOf(engineOf('ollama', launchedEngine({ model })));
      return ['qwen3:latest', 'qwen3:8b', 'qwen3-coder:latest'].filter((id) => offered?.(id));
    };
    expect(offers('qwen3')).toEqual(['qwen3:latest']);
    expect(offers('qwen3:8b')).toEqual(['qwen3:8b']);
    expect(offersOf(engineOf('vllm', launchedEngine()))).toBeUndefined();
    expect(offersOf(engineOf('ollama', attached))).toBeUndefined();
  });

  test('listens to no events that are never published', () => {
    expect(problemOf('llama-cpp', { ...attached, kvEvents: events })).toContain('publishes no events');
  });

  test('of an attached engine has to do with the matrix where it names an offload', () => {
    expect(problemOf('vllm', attached, { role: 'decode' })).toBeUndefined();
    expect(problemOf('ollama', attached, { kvOffload: 'nixl' })).toContain('not possible with "ollama"');
  });
});
