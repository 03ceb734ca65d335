/**
 * Before anything is told of an engine, and again after the edge lost its memory, no more requests stand in it than run
 * and as many ahead; and who comes while hosts are on their way back waits for them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SlotEngine, slotModel } from '../fakes/slot-engine.ts';
import { layouts } from '../harness/cluster.ts';
import { freshId, send } from '../harness/http.ts';
import { pause } from '../harness/until.ts';
import { useCluster } from '../harness/use-cluster.ts';
import { chatPath } from './requests.ts';

const slots = 4;
/** Where the edge hears late that an answer is over, it takes it and its successor to run at once. */
const waitingMax = 2 * slots;
const body = JSON.stringify({
  ...{ model: slotModel, stream: true, max_tokens: 4 },
  messages: [{ role: 'user', content: 'Hi.' }],
});

const cases = [
  ...layouts.map((layout) => ['is silent until it begins', layout, false] as const),
  ['opens each stream at once', 'one-object', true] as const,
];

describe.each(cases)('an engine that tells nothing and %s, layout %s', (_, layout, opensAtOnce) => {
  // Without a profile that has metrics the agent tells nothing of it, ever.
  const engine = new SlotEngine({ slots, prefillMs: 300, stepMs: 20, opensAtOnce });
  afterAll(() => engine.stop());
  const fixture = useCluster(() => ({ layout, regions: ['local'] }));
  beforeAll(async () => {
    await engine.start();
    const config = `[[engine]]\nname = "e0"\nprofile = "openai"\nurl = "${engine.url}"\n`;
    await fixture.cluster.startAgent({ name: 'host', engines: [], config });
  });

  const chat = async (): Promise<{ readonly status: number; readonly text: string }> => {
    const { cluster } = fixture;
    const headers = {
      authorization: `Bearer ${cluster.apiKey}`,
      'content-type': 'application/json',
      'x-request-id': freshId(),
    };
    const { status, body: said } = await send(cluster.url + chatPath, { body, headers });
    return { status, text: said.toString() };
  };
  const together = (ask: () => Promise<number>) => Promise.all(Array.from({ length: 40 }, ask));

  test('forty at once are all served, and few wait in the engine', async () => {
    const statuses = await together(async () => (await chat()).status);
    expect(statuses).toEqual(statuses.map(() => 200));
    expect(engine.waitingMax).toBeLessThanOrEqual(waitingMax);
  });

  test('after a restart of the edge forty come again at once, and few wait in the engine', async () => {
    await fixture.cluster.crashEdge();
    engine.waitingMax = 0;
    const refusals: string[] = [];
    const statuses = await together(async () => {
      for (let round = 0; round < 40; round += 1) {
        const { status, text } = await chat();
        if (status === 200) return status;
        refusals.push(text);
        await pause(500);
      }
      return 0;
    });
    expect(statuses).toEqual(statuses.map(() => 200));
    // The host was away for longer than anybody waits: that, and not that there is none, is what they are told.
    for (const text of refusals) expect(text).toContain('hosts are still linking');
    expect(engine.waitingMax).toBeLessThanOrEqual(waitingMax);
  });
});
