import { expect, test } from 'vitest';
import { type PlacedAnswer, type RefusedAnswer, requestReport } from './receipt-report.ts';

const candidate = { trust: 'exact', cost: 12.5, cachedTokens: 512, live: 1, waitMs: 3.4, prefillMs: 9 };
const asked = { cell: 0, askedFor: 'only', replicas: 2, candidates: 2, cost: 12.5 };
const placed: PlacedAnswer = {
  ...{ outcome: 'placed', region: 'weur', model: 'm', decidedAtMs: 0, earlier: [], queuedMs: 0 },
  occasion: 'first',
  ...{ policy: 'predicted-latency', node: 'n1', replica: 'r0', trust: 'exact' },
  ...{ promptTokens: 600, promptBlocks: 9, blockTokens: 64, expectedTokens: 512, stale: 0, candidates: 2 },
  considered: [
    { ...candidate, node: 'n1', replica: 'r0' },
    { ...candidate, node: 'n2', replica: 'r0', cost: 80, cachedTokens: 0 },
  ],
  cells: { asked: [asked], taken: 0, because: 'only' },
};
const refused: RefusedAnswer = {
  ...{ outcome: 'refused', region: 'weur', model: 'm', decidedAtMs: 0, earlier: [], queuedMs: 0 },
  occasion: 'first',
  ...{ code: 'no_capacity', replicas: 3, reasons: { loading: 2, unleased: 1 } },
  keptBack: [
    { node: 'n1', replica: 'r0', why: 'loading' },
    { node: 'n2', replica: 'r0', why: 'unleased' },
  ],
};
const reportOf = (...decisions: (PlacedAnswer | RefusedAnswer)[]): string =>
  requestReport({ requestId: 'req_1', decisions }, 60_000);

test('a decision shows the chosen one first, each cost, and that the request still runs', () => {
  const lines = reportOf(placed).split('\n');
  expect(lines[0]).toBe('req_1  m, region weur, 60 s ago');
  expect(lines.find((line) => line.startsWith('*'))).toMatch(/n1 +r0 +12.5 +512 +exact/);
  expect(lines.at(-1)).toBe('It is still running.');
  expect(lines[1]).toBe('First decision.');
  expect(lines.join('\n')).not.toMatch(/CELL|after/);
});

test('a prompt too short to be tracked is said to be, and one that nobody read is not', () => {
  const short = { ...placed, promptTokens: 3, promptBlocks: 0, expectedTokens: 0 };
  expect(reportOf(short)).toContain(
    'about 3 prompt tokens,\nshorter than one block of 64 tokens: not tracked.\n',
  );
  const { promptTokens: _, ...unread } = short;
  expect(reportOf(unread)).toContain('an unread prompt,\n0 tokens expected in the chosen cache (exact).');
  expect(reportOf(placed)).toContain('512 tokens expected in the chosen cache (exact).');
});

test('what is to be fetched first is told with its source and its time, and only then', () => {
  const fetching = { ...candidate, node: 'n1', replica: 'r0', fetchMs: 41.6 };
  const kvFrom = { node: 'n9', blocks: 6 };
  const moved = { ...placed, kvFrom, considered: [fetching, ...placed.considered.slice(1)] };
  const report = reportOf(moved);
  // Six of nine blocks of 600 tokens, by the prompt's own scale.
  expect(report).toContain('512 tokens expected in the chosen cache, fetched KV included (exact).');
  expect(report).toContain('Of these, r0 was to fetch the first 400 or so from n9.');
  const named = requestReport({ requestId: 'req_1', decisions: [moved] }, 0, new Map([['n9', 'rack-9']]));
  expect(named).toContain('the first 400 or so from rack-9 (n9).');
  expect(report).toMatch(/PREFILL MS +FETCH MS/);
  expect(report.split('\n').filter((line) => /n[12] +r0/.test(line))).toEqual([
    expect.stringMatching(/9 +42$/),
    expect.stringMatching(/9 +0$/),
  ]);
  expect(reportOf(placed)).not.toMatch(/fetch/i);
});

test('those left out for an old load are counted where there are any', () => {
  expect(reportOf({ ...placed, stale: 2 })).toContain('their load was told too long ago: 2.\n');
  expect(reportOf(placed)).not.toContain('Left out');
});

test('the end tells what the engine reported', () => {
  const usage = { promptTokens: 590, cachedTokens: 500 };
  const record = { totalMs: 80, firstByteMs: 12, usage };
  expect(reportOf({ ...placed, ended: { atMs: 90, record } })).toContain(
    '590 prompt tokens, 500 cached; first byte after 12 ms; over after 80 ms.',
  );
  expect(reportOf({ ...placed, ended: { atMs: 90 } })).toContain('before its agent could say how');
});

test.each([
  ['engine_broke_off', 'It broke off after 2192 ms: engine_broke_off.'],
  ['link_lost', 'It broke off after 2192 ms: link_lost.'],
  ['total_timeout', 'Its deadline passed after 2192 ms.'],
  ['client_gone', 'Its client left after 2192 ms.'],
])('a stream that ended too early by %s does not read as if it went well', (code, words) => {
  const unsaid = reportOf({ ...placed, ended: { atMs: 2_192, code } });
  expect(unsaid.split('\n').at(-1)).toBe(words);
  const said = reportOf({ ...placed, ended: { atMs: 9_999, code, record: { totalMs: 2_192 } } });
  expect(said.split('\n').slice(-2)).toEqual(['The engine counted no tokens.', words]);
});

test('with several cells it says which were asked, and why one was taken', () => {
  const cells = {
    asked: [
      { ...asked, cell: 3, askedFor: 'anchor' },
      { ...asked, cell: 1, askedFor: 'load', cost: 4 },
    ],
    ...{ taken: 1, because: 'cheaper' },
  };
  const text = reportOf({ ...placed, cells });
  expect(text).toMatch(/^ +3 +anchor +2 +2 +12.5$/m);
  expect(text).toMatch(/^\* +1 +load +2 +2 +4$/m);
  expect(text).toContain('Cell 1 was taken: it was cheaper by a fifth.');
});

test('a refusal shows each replica and what kept it', () => {
  const text = reportOf(refused);
  expect(text).toContain('no_capacity: of 3 replicas none was eligible\n(2 loading, 1 unleased).');
  expect(text).toMatch(/^n1 +r0 +loading$/m);
  expect(text).toMatch(/^n2 +r0 +unleased$/m);
  expect(text).toContain('and 1 more');
  expect(reportOf({ ...refused, replicas: 0, reasons: {}, keptBack: [] })).toContain('no replica here');
});

test('a second attempt names the first, and both are shown', () => {
  const earlier = [{ region: 'weur', code: 'no_capacity' }];
  // Newest first, as the admin API tells them.
  const text = reportOf({ ...placed, region: 'enam', earlier, occasion: 'retried' }, refused);
  expect(text).toMatch(/^req_1 \(1 of 2\) {2}m, region weur, 60 s ago\nFirst decision\.\n\nRefused, no_capa/);
  expect(text).toContain(
    '\n\nreq_1 (2 of 2)  m, region enam, 60 s ago\nTried again, after weur: no_capacity.\n',
  );
});

const lost = [{ region: 'weur', node: 'n1', replica: 'r0', code: 'engine_broke_off' }];
const record = { totalMs: 80, firstByteMs: 12 };

test.each([
  ['Continues here', undefined],
  ['Continued here', { atMs: 90, record }],
  ['Continued here', { atMs: 90, record, code: 'link_lost' }],
  ['Asked to continue here', { atMs: 90, record: { totalMs: 2 }, code: 'engine_unreachable' }],
  ['Asked to continue here', { atMs: 90, record, engineStatus: 400 }],
])('of one that was chosen to continue it says "%s" with the end %j', (words, ended) => {
  const next = { ...placed, occasion: 'continued' as const, ...(ended && { ended }) };
  const sent = `${words} from what its client had been sent`;
  expect(reportOf({ ...next, earlier: lost })).toContain(
    `\n${sent}, after weur (n1/r0): engine_broke_off.\n`,
  );
  // A later round begins anew with those that failed.
  expect(reportOf(next)).toContain(`\n${sent}.\n`);
});

test('a search for one to continue on that finds nobody continued nothing', () => {
  const text = reportOf({ ...refused, occasion: 'continued', earlier: lost });
  const words = 'Looked for one to continue on, after weur (n1/r0): engine_broke_off; found nobody.';
  expect(text).toContain(`\n${words}\n\nRefused, no_capacity: `);
  expect(text).not.toContain('ontinued here');
});

test('a chosen engine that cannot go on from a part of an answer did not break off', () => {
  const ended = { atMs: 5, record: { totalMs: 0 }, code: 'not_continuable' };
  const text = reportOf({ ...placed, occasion: 'continued', earlier: lost, ended });
  expect(text).toContain('\nAsked to continue here from ');
  expect(text.split('\n').at(-1)).toBe('Its engine cannot go on from a part of an answer: not_continuable.');
  expect(text).not.toMatch(/broke off|counted/);
});

test('a stream that went on over the next link shows its node, and no decision: there was none', () => {
  const cut = [{ ...lost[0], region: 'weur', code: 'link_lost' }];
  const resumed = { ...placed, occasion: 'resumed' as const, earlier: cut, ended: { atMs: 90, record } };
  expect(reportOf(resumed).split('\n').slice(1)).toEqual([
    "Went on over its node's next link (n1/r0), after weur (n1/r0): link_lost.",
    '',
    'The engine counted no tokens; first byte after 12 ms; over after 80 ms.',
  ]);
});

test.each([
  [400, 'refused it with 400'],
  [501, 'refused it with 501'],
  [500, 'failed with 500'],
])("an engine's own %i is told", (engineStatus, words) => {
  expect(
    reportOf({ ...placed, ended: { atMs: 90, record, engineStatus } })
      .split('\n')
      .at(-1),
  ).toBe(`The engine ${words}; first byte after 12 ms; over after 80 ms.`);
});

test('a model that a client named cannot move the terminal', () => {
  const text = reportOf({ ...refused, model: 'x\x1b]0;owned\x07\x1b[2J' });
  expect(text).not.toContain('\x1b');
  expect(text).toContain('x\\u001b]0;owned');
});

test('how long it waited for a seat is told, and of one that was turned away why', () => {
  expect(reportOf({ ...placed, queuedMs: 1_234 })).toContain('It waited 1234 ms for a seat.');
  const text = reportOf({ ...refused, code: 'overloaded', queuedMs: 30_000 });
  expect(text).toContain('It waited 30000 ms for a seat.');
  expect(text).toContain('Refused, overloaded: by what its replicas had to do, its first token');
});

test.each([
  ['queue_full', '3 waited already'],
  ['predicted_late', 'over 2.5 s, or had its first token after 900 ms'],
  ['queue_time', 'it waited for 2.5 s'],
  ['tenant_concurrency', 'its 2 requests at once'],
  ['tenant_concurrency', 'its 1 request at once', 1],
  ['tenant_share', 'the queue of 3 was full'],
])('who was turned away by %s is told which limit that was: %s', (reason, words, tenantConcurrency = 2) => {
  const limits = { queueMax: 3, queueMsMax: 2_500, firstTokenMs: 900, tenantConcurrency };
  const text = reportOf({ ...refused, code: 'overloaded', admission: { reason, limits } });
  expect(text).toContain(`Refused, overloaded. ${reason}: `);
  expect(text).toContain(words);
});
