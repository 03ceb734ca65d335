/**
 * The closed table of edits, seen from both ends: what the engine gets is the client's body but for the one splice, and
 * what the client gets is what the engine would have said to the client's own body, byte for byte.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FakeEngine } from '../fakes/fake-engine.ts';
import { startHandWritten } from '../fakes/hand-written.ts';
import { startLlamaServer } from '../fakes/llama-server.ts';
import { startVllm } from '../fakes/vllm.ts';
import { layouts } from '../harness/cluster.ts';
import { type Compared, compare } from '../harness/compare.ts';
import { useCluster } from '../harness/use-cluster.ts';

const chatPath = '/v1/chat/completions';
const completionsPath = '/v1/completions';
const asked = '"include_usage":true';

/** Each shape of `stream_options`: what the client writes, and what the engine reads instead. */
const shapes: Record<string, readonly [written: string, read: string]> = {
  none: ['{ "stream":true}', `{"stream_options":{${asked}}, "stream":true}`],
  null: ['{"stream":true,"stream_options": null }', `{"stream":true,"stream_options": {${asked}} }`],
  empty: ['{"stream":true,"stream_options":{ }}', `{"stream":true,"stream_options":{${asked} }}`],
  'with another member': [
    '{"stream_options" : {"continuous_usage_stats":true},"stream":true}',
    `{"stream_options" : {${asked},"continuous_usage_stats":true},"stream":true}`,
  ],
  'saying no': [
    '{"stream":true,"stream_options":{"include_usage": false}}',
    '{"stream":true,"stream_options":{"include_usage": true}}',
  ],
  'saying null': [
    '{"stream":true,"stream_options":{"x":1,"include_usage":null}}',
    '{"stream":true,"stream_options":{"x":1,"include_usage":true}}',
  ],
  'saying yes': [
    `{"stream":true,"stream_options":{${asked}}}`,
    `{"stream":true,"stream_options":{${asked}}}`,
  ],
  'with continuous usage': [
    `{"stream":true,"stream_options":{${asked},"continuous_usage_stats":true}}`,
    `{"stream":true,"stream_options":{${asked},"continuous_usage_stats":true}}`,
  ],
};

const withModel = (json: string, model: string): string => `${json.slice(0, -1)},"model":"${model}"}`;

const expectSame = ({ through, direct }: Compared): void => {
  expect(through.body.toString()).toBe(direct.body.toString());
  expect(through.body).toEqual(direct.body);
  expect(through.status).toBe(direct.status);
  expect(through.headers['content-type']).toBe(direct.headers['content-type']);
  expect(direct.body.length).toBeGreaterThan(100);
};

/** What an engine that serves under another name would have said under the public one. */
const renamed = (bytes: Buffer, served: string, publicName: string): string =>
  bytes
    .toString()
    .replaceAll(new RegExp(`^((?:data: ?)?\\{.*?"model"\\s*:\\s*)"${served}"`, 'gm'), `$1"${publicName}"`);

describe.each(layouts)('edits, layout %s', (layout) => {
  let vllm: FakeEngine;
  let eager: FakeEngine;
  let llama: FakeEngine;
  let byHand: FakeEngine;
  let telling: FakeEngine;
  beforeAll(async () => {
    vllm = await startVllm({ models: ['plain-chat', 'served-chat', 'served-embedder'] });
    eager = await startVllm({ models: ['eager-chat'], volunteersUsage: true });
    llama = await startLlamaServer({ models: ['llama-chat'] });
    byHand = await startHandWritten(['sglang-chat', 'odd-sse']);
    telling = await startLlamaServer({ models: ['telling-chat'] });
  });
  afterAll(() => Promise.all([vllm, eager, llama, byHand, telling].map((engine) => engine.stop())));
  const fixture = useCluster(() => ({
    layout,
    agents: [
      { name: 'plain', engines: [vllm.url, eager.url, llama.url, byHand.url] },
      {
        name: 'telling',
        engines: [],
        config: `[[engine]]\nprofile = "llama-cpp"\nurl = "${telling.url}"\n`,
      },
      {
        name: 'aliased',
        engines: [vllm.url, llama.url, byHand.url],
        region: 'enam',
        aliases: {
          'org/Public "Chat"': 'served-chat',
          'public-embedder': 'served-embedder',
          'public-llama': 'llama-chat',
          'public-odd': 'odd-sse',
          'public-sglang': 'sglang-chat',
        },
      },
    ],
  }));

  describe('usage', () => {
    test.each(Object.entries(shapes))('vLLM, stream_options %s', async (_, [written, read]) => {
      const { cluster } = fixture;
      for (const path of [chatPath, completionsPath]) {
        const body = withModel(written, 'plain-chat');
        const compared = await compare({ cluster, engine: vllm, path, body });
        expectSame(compared);
        expect(compared.received.body.toString()).toBe(withModel(read, 'plain-chat'));
      }
    });

    test.each(['sglang-chat', 'odd-sse'])('the hand-written engine %s', async (model) => {
      const { cluster } = fixture;
      for (const [written] of Object.values(shapes)) {
        const body = withModel(written, model);
        expectSame(await compare({ cluster, engine: byHand, path: chatPath, body }));
      }
    });

    test('an engine that volunteers usage is left alone', async () => {
      const { cluster } = fixture;
      const body = '{"stream":true,"model":"eager-chat"}';
      const compared = await compare({ cluster, engine: eager, path: chatPath, body });
      expectSame(compared);
      expect(compared.received.body.toString()).toBe(body);
      expect(compared.through.body.toString()).toContain('"choices":[],"usage"');
    });

    test.each(Object.entries(shapes))('llama-server, stream_options %s', async (_, [written]) => {
      const { cluster } = fixture;
      for (const path of [chatPath, completionsPath]) {
        const body = withModel(written, 'llama-chat');
        const compared = await compare({ cluster, engine: llama, path, body });
        expectSame(compared);
        expect(compared.through.body.toString()).toContain('"timings"');
      }
    });
  });

  describe('progress', () => {
    const isTold = (compared: Compared): boolean => compared.through.body.includes('prompt_progress');

    test.each(Object.entries(shapes))('of a chat, stream_options %s', async (_, [written, read]) => {
      const { cluster } = fixture;
      const body = withModel(written, 'telling-chat');
      const compared = await compare({ cluster, engine: telling, path: chatPath, body });
      expectSame(compared);
      expect(isTold(compared)).toBe(false);
      const added = compared.received.body.toString().replace('"return_progress":true,', '');
      expect(added.length).toBeLessThan(compared.received.body.length);
      expect(added).toBe(withModel(read, 'telling-chat'));
    });

    test.each([
      ['asked for', '{"stream":true,"return_progress":true}', true],
      ['declined', '{"return_progress":false,"stream":true}', false],
      ['of no stream', '{"seed":1}', false],
    ])('%s by the client is left alone', async (_, written, told) => {
      const { cluster } = fixture;
      const body = withModel(`${written.slice(0, -1)},"stream_options":{${asked}}}`, 'telling-chat');
      const compared = await compare({ cluster, engine: telling, path: chatPath, body });
      expectSame(compared);
      expect(isTold(compared)).toBe(told);
      expect(compared.received.body.toString()).toBe(body);
    });

    test('is asked of no engine that is not known to tell', async () => {
      const { cluster } = fixture;
      const body = '{"stream":true,"model":"llama-chat"}';
      const { received } = await compare({ cluster, engine: llama, path: chatPath, body });
      expect(received.body.toString()).not.toContain('return_progress');
    });
  });

  describe('model', () => {
    const publicName = 'org/Public \\"Chat\\"';
    const through = (engine: FakeEngine, path: string, json: string, names: readonly [string, string]) =>
      compare({
        cluster: fixture.cluster,
        engine,
        path,
        body: json.replace('MODEL', () => names[0]),
        directBody: json.replace('MODEL', () => names[1]),
      });
    const chats = {
      whole: '{"messages":[{"content":"model"}], "model" : "MODEL" ,"seed":1}',
      'a stream that asks for usage': `{"model":"MODEL","stream":true,"stream_options":{${asked}}}`,
      'a stream that does not': '{"stream":true,"model":"MODEL"}',
    };

    test.each(Object.entries(chats))('vLLM, %s', async (_, json) => {
      for (const path of [chatPath, completionsPath]) {
        const compared = await through(vllm, path, json, [publicName, 'served-chat']);
        expect(compared.through.body.toString()).toBe(
          renamed(compared.direct.body, 'served-chat', publicName),
        );
        expect(compared.through.body.toString()).toContain(`"model":"${publicName}"`);
        const wanted = json.replace('MODEL', 'served-chat');
        const usage =
          json.includes('include_usage') || !json.includes('stream') ? '' : `"stream_options":{${asked}},`;
        expect(compared.received.body.toString()).toBe(wanted.replace('{', `{${usage}`));
      }
    });

    test('embeddings', async () => {
      const json = '{"input":["a","b"],"model":"MODEL","encoding_format":"base64"}';
      const compared = await through(vllm, '/v1/embeddings', json, ['public-embedder', 'served-embedder']);
      expect(compared.through.body.toString()).toBe(
        renamed(compared.direct.body, 'served-embedder', 'public-embedder'),
      );
      expect(compared.received.body.toString()).toBe(json.replace('MODEL', 'served-embedder'));
    });

    test.each([
      ['public-llama', 'llama-chat'],
      ['public-sglang', 'sglang-chat'],
      ['public-odd', 'odd-sse'],
    ] as const)('with the usage edit: %s', async (name, served) => {
      const engine = served === 'llama-chat' ? llama : byHand;
      for (const [written] of Object.values(shapes)) {
        const compared = await through(engine, chatPath, withModel(written, 'MODEL'), [name, served]);
        expect(compared.through.body.toString()).toBe(renamed(compared.direct.body, served, name));
        expect(compared.through.body.toString()).toContain(`"${name}"`);
      }
    });

    test('the served name is no public one', async () => {
      const nodes = await fixture.cluster.regions();
      const served = nodes.find(({ region }) => region === 'enam')?.nodes.flatMap(({ replicas }) => replicas);
      expect(served?.flatMap(({ models }) => models)).not.toContain('served-chat');
    });
  });
});
