import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errorOf, json } from '../testing/bytes-in-pieces.ts';
import { type ErrorCode, errorTable } from './errors.ts';
import type { Epoch, Region, ReplicaName, RequestId } from './ids.ts';
import { ackBusyMsMax, bodyBytesMaxSelfHosted, modelsPerReplicaMax, replicasPerNodeMax } from './limits.ts';
import {
  cancelReasons,
  encodeCancel,
  encodeJson,
  type FinalRecord,
  type Goaway,
  type Hello,
  type OpenRequest,
  parseCancel,
  parseFinalRecord,
  parseGoaway,
  parseHead,
  parseHello,
  parseOpenRequest,
  parseReplicas,
  parseResume,
  parseStreamFailure,
  parseWelcome,
  type ReplicaReport,
  type ResponseHead,
  type ResumeRequest,
  type ResumeToken,
  replicaRoles,
  replicaStates,
  type StreamFailure,
  type Welcome,
} from './link.ts';

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
const version = fc.integer({ min: 1, max: 65_535 });
const window = fc.integer({ min: 1, max: 2 ** 30 });
const count = fc.maxSafeNat();
const code = fc.constantFrom(...(Object.keys(errorTable) as ErrorCode[]));
const headers = fc.array(fc.tuple(name, fc.string()), { maxLength: 5 });

const replica: fc.Arbitrary<ReplicaReport> = fc.record(
  {
    name: name.map((text) => text as ReplicaName),
    state: fc.constantFrom(...replicaStates),
    role: fc.constantFrom(...replicaRoles),
    why: name,
    ackMs: fc.integer({ min: 1_000, max: ackBusyMsMax }),
    models: fc.array(fc.record({ id: name, createdSeconds: count, ownedBy: name }), { maxLength: 3 }),
  },
  { requiredKeys: ['name', 'state', 'models'] },
);
const replicas = fc.uniqueArray(replica, { maxLength: 4, selector: (report) => report.name });

const hello: fc.Arbitrary<Hello> = fc
  .record({
    versions: fc.tuple(version, version),
    agent: name,
    name,
    streamWindowBytes: window,
    linkWindowBytes: window,
    replicas,
  })
  .map(({ versions, ...rest }) => ({
    versionMin: Math.min(...versions),
    versionMax: Math.max(...versions),
    ...rest,
  }));
const welcome: fc.Arbitrary<Welcome> = fc.record({
  version,
  epoch: fc.integer({ min: 1 }).map((epoch) => epoch as Epoch),
  region: fc.constantFrom('weur', 'local', 'a-1').map((region) => region as Region),
  heartbeatMs: fc.integer({ min: 100, max: 600_000 }),
  leaseMs: fc.integer({ min: 100, max: 600_000 }),
  streamWindowBytes: window,
  linkWindowBytes: window,
});
const goaway: fc.Arbitrary<Goaway> = fc.record({
  code: fc.oneof(code, fc.constant('leaving' as const)),
  message: name,
});
const token = fc
  .array(fc.constantFrom(...'0123456789abcdef'), { minLength: 32, maxLength: 32 })
  .map((digits) => digits.join('') as ResumeToken);
const resume: fc.Arbitrary<ResumeRequest> = fc.record({ token, offset: count });
const openFields = {
  requestId: name.map((text) => text as RequestId),
  replica: name.map((text) => text as ReplicaName),
  path: name,
  query: fc.constantFrom('?api-version=2024-10-21', '?a=%20&b=\'"<>', `?${'x'.repeat(2047)}`),
  model: name,
  stream: fc.boolean(),
  headers,
  bodyBytes: fc.integer({ min: 50, max: bodyBytesMaxSelfHosted }),
  spans: fc.oneof(
    fc.constant({ model: [3, 9] as const }),
    fc.record({
      model: fc.constant([10, 20] as const),
      usage: fc.record({
        at: fc.integer({ min: 20, max: 40 }),
        removeBytes: fc.nat(9),
        insert: fc.constantFrom('true', '{}'),
      }),
      continue: fc.nat(10),
      progress: fc.nat(10),
    }),
  ),
  remainingMs: fc.nat(3_600_000),
  resume: token,
};
const { query: _, resume: __, ...openAlways } = openFields;
const open: fc.Arbitrary<OpenRequest> = fc.oneof(fc.record(openFields), fc.record(openAlways));
const head: fc.Arbitrary<ResponseHead> = fc.record({ status: fc.integer({ min: 200, max: 599 }), headers });
const usage = fc.record(
  { promptTokens: count, completionTokens: count, cachedTokens: count },
  { requiredKeys: ['promptTokens', 'completionTokens'] },
);
const finalRecord: fc.Arbitrary<FinalRecord> = fc.record(
  { bodyBytes: count, totalMs: count, firstByteMs: count, usage },
  { requiredKeys: ['bodyBytes', 'totalMs'] },
);
const failure: fc.Arbitrary<StreamFailure> = fc.record({ code, message: name, record: finalRecord });

/** A message's parser, examples of it, and for each field values that it must refuse. */
interface Case {
  readonly what: string;
  readonly parse: (payload: Uint8Array) => unknown;
  readonly message: fc.Arbitrary<object>;
  readonly wrong: Readonly<Record<string, readonly unknown[]>>;
}

const missing = undefined;
const wrongToken = [missing, '', 7, 'a'.repeat(31), 'a'.repeat(33), 'A'.repeat(32), 'g'.repeat(32)];
const wrongName = [missing, null, '', 3, 'x'.repeat(257)];
const wrongCount = [missing, null, -1, 1.5, '1', 2 ** 53];
const wrongWindow = [missing, 0, 2 ** 30 + 1, '1', 1.5];
const wrongVersion = [missing, 0, 65_536, 1.5];
const wrongHeaders = [
  missing,
  {},
  'x',
  [['a']],
  [['a', 1]],
  [['a', 'b', 'c']],
  [null],
  Array(129).fill(['a', 'b']),
];
const card = { id: 'm', createdSeconds: 1, ownedBy: 'o' };
const report = { name: 'r', state: 'ready', models: [card] };
const wrongReplicas = [
  missing,
  null,
  {},
  [3],
  [[]],
  [report, report],
  [{ ...report, name: '' }],
  [{ ...report, state: 'asleep' }],
  ...[999, ackBusyMsMax + 1, 1_000.5, '2000'].map((ackMs) => [{ ...report, ackMs }]),
  [{ ...report, models: null }],
  [{ ...report, models: [null] }],
  [{ ...report, models: [{ ...card, id: 7 }] }],
  [{ ...report, models: [{ ...card, createdSeconds: -1 }] }],
  [{ ...report, models: [{ ...card, ownedBy: '' }] }],
  [{ ...report, models: Array(modelsPerReplicaMax + 1).fill(card) }],
  Array.from({ length: replicasPerNodeMax + 1 }, (_, at) => ({ ...report, name: `r${at}` })),
];
const wrongUsage = [3, [], { promptTokens: 1 }, { promptTokens: 1, completionTokens: 1, cachedTokens: -1 }];
const wrongRecord = [missing, null, {}, { bodyBytes: 1 }, { bodyBytes: 1, totalMs: 1, usage: {} }];

const cases: readonly Case[] = [
  {
    what: 'HELLO',
    parse: parseHello,
    message: hello,
    wrong: {
      versionMin: wrongVersion,
      versionMax: wrongVersion,
      agent: wrongName,
      name: wrongName,
      streamWindowBytes: wrongWindow,
      linkWindowBytes: wrongWindow,
      replicas: wrongReplicas,
    },
  },
  {
    what: 'WELCOME',
    parse: parseWelcome,
    message: welcome,
    wrong: {
      version: wrongVersion,
      epoch: [missing, 0, -1, 1.5],
      region: [missing, '', 'West', 'a b'],
      heartbeatMs: [missing, 99, 600_001],
      leaseMs: [missing, 99, 600_001],
      streamWindowBytes: wrongWindow,
      linkWindowBytes: wrongWindow,
    },
  },
  {
    what: 'REPLICAS',
    parse: parseReplicas,
    message: replicas.map((list) => ({ replicas: list })),
    wrong: { replicas: wrongReplicas },
  },
  {
    what: 'GOAWAY',
    parse: parseGoaway,
    message: goaway,
    wrong: { code: wrongName, message: [missing, '', 1, 'x'.repeat(4097)] },
  },
  {
    what: 'OPEN',
    parse: parseOpenRequest,
    message: open,
    wrong: {
      requestId: [missing, '', 1, 'x'.repeat(129)],
      replica: wrongName,
      path: [missing, '', 1, 'x'.repeat(257)],
      query: ['', 1, '?', 'a=1', '?a b', '?a\r\nb', '?é', `?${'x'.repeat(2048)}`],
      model: wrongName,
      stream: [missing, null, 'true', 1],
      headers: wrongHeaders,
      bodyBytes: [...wrongCount, bodyBytesMaxSelfHosted + 1],
      spans: [missing, null, [], 'x'],
      remainingMs: [...wrongCount, 3_600_001],
      resume: wrongToken.slice(1),
    },
  },
  {
    what: 'RESUME',
    parse: parseResume,
    message: resume,
    wrong: { token: wrongToken, offset: wrongCount },
  },
  {
    what: 'HEAD',
    parse: parseHead,
    message: head,
    wrong: { status: [missing, 199, 600, '200'], headers: wrongHeaders },
  },
  {
    what: 'END',
    parse: parseFinalRecord,
    message: finalRecord,
    wrong: { bodyBytes: wrongCount, totalMs: wrongCount, firstByteMs: [-1, 1.5, '1'], usage: wrongUsage },
  },
  {
    what: 'FAIL',
    parse: parseStreamFailure,
    message: failure,
    wrong: { code: wrongName, message: [missing, '', 1, 'x'.repeat(4097)], record: wrongRecord },
  },
];

describe.each(cases)('$what', ({ parse, message, wrong, what }) => {
  test('comes back as it was sent', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(parse(encodeJson(sent as Hello))).toEqual(
          'replicas' in sent && what === 'REPLICAS' ? sent.replicas : sent,
        );
      }),
    );
  });

  test('reads the same with fields that this version does not know', () => {
    fc.assert(
      fc.property(
        message,
        fc.dictionary(fc.stringMatching(/^z[a-z]{1,8}$/), fc.jsonValue()),
        (sent, unknown) => {
          expect(parse(json({ ...unknown, ...sent }))).toEqual(parse(json(sent)));
        },
      ),
    );
  });

  test.each(Object.keys(wrong))('with a wrong %s is a protocol error that names it', (field) => {
    const [sent] = fc.sample(message, { numRuns: 1, seed: 7 });
    for (const value of wrong[field] ?? []) {
      const error = errorOf(() => parse(json({ ...sent, [field]: value })));
      expect([error?.code, value]).toEqual(['protocol_error', value]);
      expect(error?.message).toContain(field);
      expect(error?.message).toContain(what === 'REPLICAS' ? 'replicas' : what);
    }
  });

  test('from any JSON or bytes at all is a message or a protocol error', () => {
    const mixed = fc.tuple(message, fc.dictionary(fc.constantFrom(...Object.keys(wrong)), fc.jsonValue()));
    const anything = fc.oneof(
      fc.json().map((text) => new TextEncoder().encode(text)),
      fc.uint8Array(),
      mixed.map(([sent, other]) => json({ ...sent, ...other })),
    );
    fc.assert(
      fc.property(anything, (payload) => {
        expect([undefined, 'protocol_error']).toContain(errorOf(() => parse(payload))?.code);
      }),
      { numRuns: 300 },
    );
  });
});

test('a lowest version above the highest is refused', () => {
  const [sent] = fc.sample(hello, 1);
  expect(errorOf(() => parseHello(json({ ...sent, versionMin: 3, versionMax: 2 })))?.message).toContain(
    'versionMax',
  );
});

test('a code that this version does not know reads as internal', () => {
  const record = { bodyBytes: 0, totalMs: 0 };
  expect(parseGoaway(json({ code: 'invented', message: 'm' })).code).toBe('internal');
  expect(parseStreamFailure(json({ code: 'invented', message: 'm', record })).code).toBe('internal');
  expect(parseStreamFailure(json({ code: 'leaving', message: 'm', record })).code).toBe('internal');
});

test('a reason to cancel comes back; a newer one reads as client_gone; another length is refused', () => {
  for (const reason of cancelReasons) expect(parseCancel(encodeCancel(reason))).toBe(reason);
  expect(parseCancel(new Uint8Array([200]))).toBe('client_gone');
  for (const length of [0, 2]) {
    expect(errorOf(() => parseCancel(new Uint8Array(length)))?.code).toBe('protocol_error');
  }
});

test('names with half a surrogate pair are refused: they fit into no header', () => {
  const named = (name: string, id: string) =>
    json({
      replicas: [{ name, state: 'ready', models: [{ id, createdSeconds: 1, ownedBy: 'x' }] }],
    });
  expect(parseReplicas(named('r0 \u{1f600}', 'm'))).toHaveLength(1);
  for (const payload of [named('\ud800', 'm'), named('r0', 'm\udc00')]) {
    expect(errorOf(() => parseReplicas(payload))?.code).toBe('protocol_error');
  }
});
