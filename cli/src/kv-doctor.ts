/**
 * Whether this host's kvcached is well: a value written and read, here and with each peer; memory and disk for what it
 * may still take; and in which field two hosts' namespaces of one model differ. Leaves nothing behind.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statfsSync } from 'node:fs';
import { messageOf } from '@cognitora/protocol/errors';
import {
  isNodeId,
  type KvDoctor,
  type KvNamespace,
  type KvProbe,
  type KvStat,
  kvDaemonPaths,
  kvValuePath,
  tellsNoAddress,
} from '@cognitora/protocol/kv-daemon';
import {
  kvErrorIn,
  parseKvDoctor,
  parseKvKeysPage,
  parseKvPeers,
  parseKvPlace,
  parseKvStat,
} from '@cognitora/protocol/kv-daemon-bodies';
import { memoryLeftIn } from '@cognitora/protocol/memory-left';
import type { Finding } from './commands/doctor.ts';
import { type KvClient, refusal } from './kv-client.ts';
import { byteSize, UserError } from './terminal.ts';

const probeBytes = 2 ** 20;
/** Of the Redis protocol. */
const databasesMax = 16;

const ok = (what: string, says: string): Finding => ({ what, outcome: 'ok', says });
const note = (what: string, says: string, fix?: string): Finding => ({
  what,
  outcome: 'note',
  says,
  ...(fix === undefined ? {} : { fix }),
});
const failed = (what: string, says: string, fix: string): Finding => ({ what, outcome: 'failed', says, fix });

/** The value as it lies in the memory that kvcached maps; the lease ends with the connection. */
const mapped = async (client: KvClient, key: string, value: Buffer): Promise<Finding> => {
  const what = 'shared memory';
  const answer = await client.ask({ path: `${kvValuePath(key)}?as=place` });
  if (answer.status !== 200) return note(what, refusal(answer).message);
  const { path, offset, bytes, lease } = parseKvPlace(answer.body);
  try {
    const file = openSync(path, 'r');
    const read = Buffer.alloc(bytes);
    readSync(file, read, 0, bytes, offset);
    closeSync(file);
    if (read.equals(value)) return ok(what, 'a program of this user reads values where they lie');
    return failed(what, 'what lies there is not the value', 'Tell the maintainers: this must not be.');
  } catch (thrown) {
    return note(what, `values are read by copy alone: ${messageOf(thrown)}`);
  } finally {
    await client.ask({ method: 'DELETE', path: `${kvDaemonPaths.leases}${lease}` });
  }
};

/** Written, read, compared and removed. */
async function* written(client: KvClient): AsyncGenerator<Finding> {
  const what = 'a value';
  const key = `doctor:${randomBytes(8).toString('hex')}`;
  const value = randomBytes(probeBytes);
  const put = await client.ask({ method: 'PUT', path: kvValuePath(key), body: value });
  if (put.status !== 204) {
    const fix =
      'Unpin or remove values (cgn kv ls), give it more --ram, or see whether its disk keeps up (stat).';
    yield failed(what, `it cannot be stored: ${refusal(put).message}`, fix);
    return;
  }
  const got = await client.ask({ path: kvValuePath(key) });
  if (got.status === 200 && got.body.equals(value))
    yield ok(what, `${byteSize(probeBytes)} came back as written`);
  else
    yield failed(what, 'it did not come back as it was written', 'Restart kvcached; tell the maintainers.');
  yield await mapped(client, key, value);
  await client.ask({ method: 'DELETE', path: kvValuePath(key) });
}

const memory = ({ ram }: KvStat): Finding => {
  const left = memoryLeftIn((path) => readFileSync(path, 'utf8'));
  // Pages cost memory once they are written.
  const wanted = ram.bytesMax - ram.bytes;
  const says = `${byteSize(ram.bytes)} of ${byteSize(ram.bytesMax)} taken`;
  if (left === undefined || wanted <= left) return ok('memory', says);
  return failed(
    'memory',
    `${says}, and the host has ${byteSize(Math.max(0, left))} left for the other ${byteSize(wanted)}`,
    'Start it with less --ram (ram in its file): the system would end it, or swap.',
  );
};

function* disk({ ssd }: KvStat): Generator<Finding> {
  if (ssd === undefined) {
    yield note('disk', 'none: nothing outlives a restart', 'Start it with --disk SIZE.');
    return;
  }
  const { directory, bytes, bytesMax, errors, corrupt } = ssd;
  const says = `${byteSize(bytes)} of ${byteSize(bytesMax)} taken in ${directory}`;
  if (errors > 0) {
    yield failed(
      'disk',
      `${says}; it failed ${errors} times`,
      'kvcached says on standard error what failed.',
    );
  }
  if (corrupt > 0) yield note('disk', `${corrupt} values were damaged, and were misses`);
  try {
    const { bavail, bsize } = statfsSync(directory);
    const wanted = bytesMax - bytes;
    if (bavail * bsize >= wanted) yield ok('disk', says);
    else {
      yield failed(
        'disk',
        `${says}, and its file system has ${byteSize(bavail * bsize)} left for the other ${byteSize(wanted)}`,
        'Start it with less --disk (disk in its file), or make room.',
      );
    }
  } catch (thrown) {
    yield note('disk', `${says}; its file system cannot be looked at: ${messageOf(thrown)}`);
  }
}

const factsOf = ({ fields: { more, ...fields } }: KvNamespace): ReadonlyMap<string, string> =>
  new Map(
    [
      ...Object.entries(fields),
      ...Object.entries(more ?? {}).map(([name, value]) => [`more.${name}`, value] as const),
    ]
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, JSON.stringify(value)]),
  );

/** Fields in which two namespaces differ, with both values; "nothing" where one does not name it. */
export const differences = (
  here: KvNamespace,
  there: KvNamespace,
): readonly (readonly [string, string, string])[] => {
  const [ours, theirs] = [factsOf(here), factsOf(there)];
  return [...new Set([...ours.keys(), ...theirs.keys()])].flatMap((name) => {
    const [left = 'nothing', right = 'nothing'] = [ours.get(name), theirs.get(name)];
    return left === right ? [] : [[name, left, right] as const];
  });
};

/** Models that both have KV of, and share none: with the pair that is nearest to equal. */
export const mismatches = (
  ours: readonly KvNamespace[],
  { name, namespaces }: KvProbe,
): readonly Finding[] => {
  const models = new Set(ours.map(({ fields }) => fields.model));
  return [...models].flatMap((model) => {
    const here = ours.filter(({ fields }) => fields.model === model);
    const there = namespaces.filter(({ fields }) => fields.model === model);
    const isShared = here.some(({ namespace }) => there.some((other) => other.namespace === namespace));
    const pairs = here.flatMap((one) => there.map((other) => differences(one, other)));
    const [nearest] = pairs.toSorted((left, right) => left.length - right.length);
    if (isShared || nearest === undefined) return [];
    const says = nearest
      .map(([field, left, right]) => `${field} is ${left} here and ${right} there`)
      .join(', ');
    const fix =
      'Where that is not meant so, make it equal on both: in the engine, or in the fields of kvcached.';
    return [note(`${model} with ${name}`, `nothing is shared: ${says}`, fix)];
  });
};

const fixOf = (why: string): string => {
  if (why === tellsNoAddress) return 'Start it there, with --peers 0.0.0.0:6381; there: cgn kv doctor.';
  if (/\brefused\b|\bcut\b|of the fleet|connection ended/.test(why)) {
    return (
      'One of the two may be of the fleet no more, or its kvcached has another key than its agent: see ' +
      '"cgn nodes" and identity in its file. A host that was removed joins again with a new token.'
    );
  }
  return 'See that its [peers] listen can be reached from here (a firewall?), by TCP and UDP.';
};

export const probed = (probe: KvProbe): Finding => {
  const { name, node, isOk, transport, writeMs, readMs, why } = probe;
  const what = `peer ${name}`;
  if (!isOk) {
    const told = why ?? 'it does not answer';
    return failed(what, `${node}: ${told}`, fixOf(told));
  }
  const times = [
    ...(writeMs === undefined ? [] : [`written in ${writeMs.toFixed(1)} ms`]),
    ...(readMs === undefined ? [] : [`read in ${readMs.toFixed(1)} ms`]),
  ];
  return ok(what, [`${node}${transport === undefined ? '' : ` by ${transport}`}`, ...times].join(', '));
};

/** Keys that say nothing of what they were computed with: they stay on their host. */
async function* unnamed(client: KvClient): AsyncGenerator<Finding> {
  for (let database = 0; database < databasesMax; database += 1) {
    const path = `${kvDaemonPaths.keys}?prefix=db${database}:&count=1`;
    const { keys } = await client.read({ path }, parseKvKeysPage);
    if (keys.length === 0) continue;
    const fix = `Name them on all hosts: [[namespace]] database = ${database}, fields = { model = "..." }.`;
    yield note(
      `database ${database}`,
      'its keys do not say what they were computed with: they are not shared with other hosts',
      fix,
    );
  }
}

/** Where nobody was probed. Without a fleet `[peers]` shares nothing. */
const nobody = async (client: KvClient, why: string): Promise<Finding> => {
  const { hasFabric } = await client.read({ path: kvDaemonPaths.peers }, parseKvPeers);
  if (hasFabric) return note('peers', why);
  const fix = `Name this socket to the agent of this host: kvcached = "${client.socket}", or --kvcached.`;
  return failed('peers', why, fix);
};

async function* peers(client: KvClient, node: string | undefined): AsyncGenerator<Finding> {
  if (node !== undefined && !isNodeId(node)) {
    throw new UserError(
      `--node is a node's id, n and 26 characters, as "cgn kv stat" lists them; not "${node}".`,
      2,
    );
  }
  const body = node === undefined ? {} : { node };
  const answer = await client.ask({ method: 'POST', path: kvDaemonPaths.doctor, body });
  if (answer.status === 503) {
    yield note(
      'peers',
      kvErrorIn(answer.body)?.message ?? 'none',
      'To share with other hosts: --peers 0.0.0.0:6381.',
    );
    return;
  }
  if (answer.status !== 200) throw refusal(answer);
  const told: KvDoctor = parseKvDoctor(answer.body);
  if (told.probes.length === 0) yield await nobody(client, told.why ?? 'there are none');
  else yield* unnamed(client);
  for (const probe of told.probes) {
    yield probed(probe);
    yield* mismatches(told.namespaces, probe);
  }
}

/** Each finding as soon as it is known. Throws `UserError` where no kvcached answers. */
export async function* kvFindings(client: KvClient, node: string | undefined): AsyncGenerator<Finding> {
  const stat = await client.read({ path: kvDaemonPaths.stat }, parseKvStat);
  yield ok('kvcached', `${stat.version}, pid ${stat.pid}, answers on ${client.socket}`);
  yield* written(client);
  yield memory(stat);
  yield* disk(stat);
  yield* peers(client, node);
}
