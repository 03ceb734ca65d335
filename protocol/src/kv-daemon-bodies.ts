/**
 * The JSON bodies of the KV daemon's socket, read once at either end: of requests by the daemon, of answers by the
 * agent and `cgn kv`. Throws `protocol_error` that names the field. Types and bounds are `kv-daemon.ts`'s.
 */
import {
  addressesIn,
  anyNode,
  figureIn,
  isKvKey,
  isNodeId,
  type KvDaemonErrorCode,
  type KvDoctor,
  type KvExists,
  type KvFetch,
  type KvKeysPage,
  type KvMirrorStat,
  type KvNamespace,
  type KvPeers,
  type KvPlace,
  type KvStat,
  type KvTierStat,
  kvDaemonErrors,
  kvFetchMsMax,
  kvKeyBytesMax,
  kvKeysPerRequestMax,
  kvMirrorsMax,
  kvNamespacesMax,
  type NamespaceFields,
  namespacePattern,
  nodeIn,
  peerTransports,
} from './kv-daemon.ts';
import { kvFabricNodesMax } from './limits.ts';
import { FieldReader, parseJsonRecord } from './shape.ts';

const factCharsMax = 256;
const moreFactsMax = 32;
const textCharsMax = 4_096;

const bodyOf = (what: string, bytes: Uint8Array): FieldReader =>
  new FieldReader(parseJsonRecord(bytes, 'protocol_error', what), 'protocol_error', what);

const keysIn = (fields: FieldReader, name: string, max: number): readonly string[] =>
  fields.list(name, max).map((key) => {
    return isKvKey(key) ? key : fields.fail(name, `a list of keys of 1 to ${kvKeyBytesMax} bytes`);
  });

const namespaceNames = ['model', 'dtype', 'layout', 'blockTokens', 'hashAlgorithm', 'engine', 'more'];

const moreIn = (fields: FieldReader): Readonly<Record<string, string | number>> => {
  const more = Object.entries(fields.record('more'));
  if (more.length > moreFactsMax) return fields.fail('more', `at most ${moreFactsMax} facts`);
  return Object.fromEntries(
    more.map(([name, value]) => {
      const isFact =
        typeof value === 'string'
          ? value.length <= factCharsMax
          : typeof value === 'number' && Number.isFinite(value);
      if (!isFact || name === '' || name.length > factCharsMax)
        return fields.fail('more', `names with a text of at most ${factCharsMax} characters or a number`);
      return [name, value as string | number];
    }),
  );
};

/** An unknown field is refused: two daemons that read the same fields differently would share what differs. */
const namespaceFieldsIn = (fields: FieldReader, given: object): NamespaceFields => {
  const unknown = Object.keys(given).find((name) => !namespaceNames.includes(name));
  if (unknown !== undefined)
    return fields.fail(unknown, `one of ${namespaceNames.join(', ')}; others go into more`);
  const text = (name: 'dtype' | 'layout' | 'hashAlgorithm' | 'engine') => {
    const value = fields.optionalString(name, factCharsMax);
    return value === undefined ? {} : { [name]: value };
  };
  return {
    model: fields.string('model', factCharsMax),
    ...text('dtype'),
    ...text('layout'),
    ...(fields.has('blockTokens') ? { blockTokens: fields.integer('blockTokens', 1, 1_048_576) } : {}),
    ...text('hashAlgorithm'),
    ...text('engine'),
    ...(fields.has('more') ? { more: moreIn(fields) } : {}),
  };
};

/** JSON with the names of each object in order. An object of JavaScript could not keep names that are numbers so. */
const canonicalText = (record: object): string => {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  entries.sort(([left], [right]) => (left < right ? -1 : 1));
  const text = (value: unknown): string =>
    typeof value === 'object' && value !== null ? canonicalText(value) : JSON.stringify(value);
  return `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${text(value)}`).join(',')}}`;
};

/** Equal fields have equal text, in whatever order they were given. What `n` and 16 hex are the hash of. */
export const canonicalFields = ({ more, ...fields }: NamespaceFields): string =>
  canonicalText(more === undefined || Object.keys(more).length === 0 ? fields : { ...fields, more });

export const parseNamespaceAsk = (bytes: Uint8Array): NamespaceFields => {
  const body = bodyOf('The namespace', bytes);
  return namespaceFieldsOf(body.record('fields'), 'The namespace: fields');
};

const namespaceFieldsOf = (record: object, what: string): NamespaceFields =>
  namespaceFieldsIn(new FieldReader({ ...record }, 'protocol_error', what), record);

export const parseKeysAsk = (bytes: Uint8Array): readonly string[] =>
  keysIn(bodyOf('The request', bytes), 'keys', kvKeysPerRequestMax);

export const parsePinAsk = (
  bytes: Uint8Array,
): { readonly keys: readonly string[]; readonly pinned: boolean } => {
  const body = bodyOf('The request', bytes);
  return { keys: keysIn(body, 'keys', kvKeysPerRequestMax), pinned: body.boolean('pinned') };
};

export const parseFetchAsk = (bytes: Uint8Array): KvFetch => {
  const body = bodyOf('The request', bytes);
  const node = body.optionalString('node', 64) ?? anyNode;
  if (node !== anyNode && !isNodeId(node)) return body.fail('node', `a node's id, or "${anyNode}"`);
  return {
    keys: keysIn(body, 'keys', kvKeysPerRequestMax),
    node,
    deadlineMs: body.integer('deadlineMs', 1, kvFetchMsMax),
  };
};

export const parseDoctorAsk = (bytes: Uint8Array): { readonly node?: KvPeers['node'] } => {
  const body = bodyOf('The request', bytes);
  return body.has('node') ? { node: nodeIn(body, 'node') } : {};
};

// Answers.

const count = (fields: FieldReader, name: string): number => fields.integer(name, 0, Number.MAX_SAFE_INTEGER);

const namespacesIn = (fields: FieldReader): readonly KvNamespace[] =>
  fields.records('namespaces', kvNamespacesMax, (each) => {
    const namespace = each.string('namespace', 17);
    if (!namespacePattern.test(namespace)) return each.fail('namespace', '"n" and 16 hex');
    return { namespace, fields: namespaceFieldsOf(each.record('fields'), 'A namespace') };
  });

/** Also what a daemon keeps them in. */
export const parseKvNamespaces = (bytes: Uint8Array): readonly KvNamespace[] =>
  namespacesIn(bodyOf('The namespaces', bytes));

const reader = (record: object, what: string): FieldReader =>
  new FieldReader({ ...record }, 'protocol_error', what);

const tierIn = (fields: FieldReader): KvTierStat => ({
  values: count(fields, 'values'),
  bytes: count(fields, 'bytes'),
  bytesMax: count(fields, 'bytesMax'),
  hits: count(fields, 'hits'),
  misses: count(fields, 'misses'),
  evictions: count(fields, 'evictions'),
});

const mirrorIn = (each: FieldReader): KvMirrorStat => ({
  directory: each.string('directory', textCharsMax),
  namespace: each.string('namespace', 17),
  isThere: each.boolean('isThere'),
  files: count(each, 'files'),
  bytes: count(each, 'bytes'),
  ...(each.has('bytesMax') ? { bytesMax: count(each, 'bytesMax') } : {}),
  waiting: count(each, 'waiting'),
  adopted: count(each, 'adopted'),
  restored: count(each, 'restored'),
  removed: count(each, 'removed'),
  failures: count(each, 'failures'),
});

export const parseKvStat = (bytes: Uint8Array): KvStat => {
  const body = bodyOf('The answer', bytes);
  const ram = reader(body.record('ram'), 'The answer: ram');
  const ssd = body.has('ssd') ? reader(body.record('ssd'), 'The answer: ssd') : undefined;
  const peers = body.has('peers') ? reader(body.record('peers'), 'The answer: peers') : undefined;
  return {
    version: body.string('version', 64),
    pid: count(body, 'pid'),
    uptimeMs: count(body, 'uptimeMs'),
    residentBytes: count(body, 'residentBytes'),
    ram: {
      ...tierIn(ram),
      pinnedBytes: count(ram, 'pinnedBytes'),
      puts: count(ram, 'puts'),
      refusals: count(ram, 'refusals'),
    },
    ...(ssd === undefined
      ? {}
      : {
          ssd: {
            ...tierIn(ssd),
            directory: ssd.string('directory', textCharsMax),
            dirtyBytes: count(ssd, 'dirtyBytes'),
            corrupt: count(ssd, 'corrupt'),
            errors: count(ssd, 'errors'),
            unread: count(ssd, 'unread'),
          },
        }),
    ...(peers === undefined ? {} : { peers: { hits: count(peers, 'hits'), misses: count(peers, 'misses') } }),
    misses: count(body, 'misses'),
    mirrors: body.records('mirrors', kvMirrorsMax, mirrorIn),
    leases: count(body, 'leases'),
    namespaces: namespacesIn(body),
  };
};

export const parseKvKeysPage = (bytes: Uint8Array): KvKeysPage => {
  const body = bodyOf('The answer', bytes);
  return {
    keys: body.records('keys', kvKeysPerRequestMax, (each) => {
      const [key = ''] = keysIn(
        new FieldReader({ key: [each.string('key', kvKeyBytesMax)] }, 'protocol_error', 'A key'),
        'key',
        1,
      );
      return {
        key,
        bytes: count(each, 'bytes'),
        tier: each.oneOf('tier', ['ram', 'ssd'] as const),
        isPinned: each.boolean('isPinned'),
        ...(each.has('ttlMs') ? { ttlMs: count(each, 'ttlMs') } : {}),
      };
    }),
    ...(body.has('cursor') ? { cursor: count(body, 'cursor') } : {}),
  };
};

export const parseKvPlace = (bytes: Uint8Array): KvPlace => {
  const body = bodyOf('The answer', bytes);
  return {
    path: body.string('path', textCharsMax),
    offset: count(body, 'offset'),
    bytes: count(body, 'bytes'),
    lease: count(body, 'lease'),
  };
};

export const parseKvExists = (bytes: Uint8Array): KvExists => {
  const body = bodyOf('The answer', bytes);
  return {
    tiers: body.list('tiers', kvKeysPerRequestMax).map((tier) => {
      return tier === 'ram' || tier === 'ssd' || tier === null
        ? tier
        : body.fail('tiers', '"ram", "ssd" or null');
    }),
  };
};

export const parseKvChanged = (bytes: Uint8Array): { readonly changed: number } => ({
  changed: count(bodyOf('The answer', bytes), 'changed'),
});

export const parseKvNamespace = (bytes: Uint8Array): string => {
  const body = bodyOf('The answer', bytes);
  const namespace = body.string('namespace', 17);
  return namespacePattern.test(namespace) ? namespace : body.fail('namespace', '"n" and 16 hex');
};

const transportIn = (each: FieldReader) =>
  each.has('transport') ? { transport: each.oneOf('transport', peerTransports) } : {};

const whyIn = (each: FieldReader) => (each.has('why') ? { why: each.string('why', textCharsMax) } : {});

const optionalFigure = <Name extends string>(
  each: FieldReader,
  name: Name,
): { readonly [Key in Name]?: number } =>
  (each.has(name) ? { [name]: figureIn(each, name) } : {}) as { readonly [Key in Name]?: number };

export const parseKvPeers = (bytes: Uint8Array): KvPeers => {
  const body = bodyOf('The answer', bytes);
  return {
    node: nodeIn(body, 'node'),
    addresses: addressesIn(body),
    hasFabric: body.boolean('hasFabric'),
    peers: body.records('peers', kvFabricNodesMax, (each) => ({
      node: nodeIn(each, 'node'),
      name: each.name('name', 256),
      ...transportIn(each),
      ...optionalFigure(each, 'rttMs'),
      ...optionalFigure(each, 'bytesPerMs'),
      receivedBytes: count(each, 'receivedBytes'),
      sentBytes: count(each, 'sentBytes'),
      ...whyIn(each),
    })),
  };
};

export const parseKvDoctor = (bytes: Uint8Array): KvDoctor => {
  const body = bodyOf('The answer', bytes);
  return {
    namespaces: namespacesIn(body),
    probes: body.records('probes', kvFabricNodesMax, (each) => ({
      node: nodeIn(each, 'node'),
      name: each.name('name', 256),
      isOk: each.boolean('isOk'),
      ...transportIn(each),
      ...optionalFigure(each, 'writeMs'),
      ...optionalFigure(each, 'readMs'),
      ...whyIn(each),
      namespaces: namespacesIn(each),
    })),
    ...whyIn(body),
  };
};

/** Undefined for a body that is none of the daemon's errors. */
export const kvErrorIn = (
  bytes: Uint8Array,
): { readonly code: KvDaemonErrorCode; readonly message: string } | undefined => {
  try {
    const error = bodyOf('The answer', bytes).record('error');
    const { code, message } = error;
    const isOne =
      typeof code === 'string' && Object.hasOwn(kvDaemonErrors, code) && typeof message === 'string';
    return isOne ? { code: code as KvDaemonErrorCode, message } : undefined;
  } catch {
    return undefined;
  }
};
