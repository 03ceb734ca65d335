/**
 * Checks what an agent says of itself, in the Worker, before any object wakes: the dial's signature, its time, the
 * certificate this deployment gave at enrolment, and that the id is the key's. Of a node that passes, the registry is
 * asked whether it was removed since. A dial signed for another edge is refused, so that no edge can pose as a node to
 * another.
 */
import { fromBase64Url, toBase64Url } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import {
  certificateText,
  type Dial,
  dialText,
  enrolmentText,
  nodeIdOf,
  parseDial,
} from '@cognitora/protocol/identity';
import type { NodeId, Region } from '@cognitora/protocol/ids';
import { dialSkewMsMax, nameCharsMax } from '@cognitora/protocol/limits';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import { readSmallBody } from '../body-budget.ts';
import { systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { registryObject } from '../objects.ts';
import { unwrap } from '../outcome.ts';
import { fleetHmac, fleetHmacMatches, isOurToken, tokenHash } from './tokens.ts';

/** A key, a name and a signature fit many times. */
const enrolmentBytesMax = 16 * 1024;

/** Behind such a proxy every host would sign for another origin than the edge sees. */
const proxyHint = ' A proxy in front of the edge must pass the Host header on.';

const refused = (message: string): CognitoraError => new CognitoraError('identity_refused', message);

/**
 * The origins for which a signature of this request counts. Where the deployment lists its own, those of the host that
 * the request names: never the scheme it shows, which behind a TLS proxy is not the one that was dialled. A host that
 * somebody else wrote picks among our own origins at most; the signature decides.
 */
const originsOf = (request: Request, env: Env): readonly string[] => {
  const { origin, host } = new URL(request.url);
  const { origins } = settingsOf(env);
  if (origins === undefined) return [origin];
  const named = origins.filter((own) => new URL(own).host === host);
  if (named.length > 0) return named;
  throw refused(`This edge is not ${host}. Dial one of its own origins, or add this one to ORIGINS.`);
};

const isSigned = async (publicKey: Uint8Array, text: Uint8Array, signature: string): Promise<boolean> => {
  const bytes = fromBase64Url(signature);
  if (publicKey.length !== 32 || bytes?.length !== 64) return false;
  const key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, bytes, text);
};

const nodeOfKey = async (publicKey: Uint8Array): Promise<NodeId> =>
  nodeIdOf(new Uint8Array(await crypto.subtle.digest('SHA-256', publicKey)));

/** Whether the key signed the text of one of these origins. */
const isSignedForOne = async (
  origins: readonly string[],
  publicKey: Uint8Array,
  textFor: (origin: string) => Uint8Array,
  signature: string,
): Promise<boolean> => {
  for (const origin of origins) if (await isSigned(publicKey, textFor(origin), signature)) return true;
  return false;
};

/** The node that dials. Throws `identity_refused` with what to do. */
export const checkDial = async (request: Request, region: Region | '', env: Env): Promise<Dial> => {
  const dial = parseDial(request.headers.get('authorization'));
  if (dial === undefined) throw refused('The dial carries no well-formed identity.');
  const origins = originsOf(request, env);
  if (Math.abs(systemClock() - dial.timeMs) > dialSkewMsMax) {
    throw refused(
      `The host's clock and the edge's differ by more than ${dialSkewMsMax / 1000} s. Set the clock.`,
    );
  }
  const publicKey = fromBase64Url(dial.publicKey) ?? new Uint8Array();
  const certificate = fromBase64Url(dial.certificate) ?? new Uint8Array();
  const { fleetSecret } = settingsOf(env);
  if (!(await fleetHmacMatches(fleetSecret, certificateText(dial.node), certificate))) {
    throw new CognitoraError('not_enrolled', 'This edge did not enrol this node. Give it a join token.');
  }
  const textFor = (origin: string): Uint8Array => dialText(origin, region, dial);
  const isOwner =
    (await nodeOfKey(publicKey)) === dial.node &&
    (await isSignedForOne(origins, publicKey, textFor, dial.signature));
  if (!isOwner)
    throw refused(`The dial is not signed with the node's own key for ${origins.join(' or ')}.${proxyHint}`);
  return dial;
};

/** Throws `not_enrolled` for a node that was removed since; the time from which on that holds, by our clock. */
export const checkEnrolled = async (node: NodeId, env: Env): Promise<number> => {
  const checkedAtMs = systemClock();
  if (await registryObject(env).isEnrolled(node)) return checkedAtMs;
  throw new CognitoraError('not_enrolled', 'The operator removed this node. Give it a new join token.');
};

/** Enrols a host's key against a join token; answers with the node's id and its certificate. */
export const enrol = async (request: Request, env: Env): Promise<Response> => {
  const { fleetSecret, bodies } = settingsOf(env);
  const token = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1] ?? '';
  if (!(await isOurToken(fleetSecret, 'joinToken', token))) {
    throw refused('The join token is not one of this edge. "cgn keys join" makes one.');
  }
  const text = await readSmallBody(request, { ...bodies, bytesMax: enrolmentBytesMax });
  const reader = new FieldReader(
    parseJsonRecord(text, 'bad_json', 'The enrolment'),
    'invalid_request',
    'enrolment',
  );
  const publicKeyText = reader.string('publicKey', 64);
  const name = reader.string('name', nameCharsMax);
  const publicKey = fromBase64Url(publicKeyText) ?? new Uint8Array();
  const origins = originsOf(request, env);
  const textFor = (origin: string): Uint8Array => enrolmentText(origin, publicKeyText);
  if (!(await isSignedForOne(origins, publicKey, textFor, reader.string('signature', 128)))) {
    throw refused(
      `The enrolment is not signed with the key it names for ${origins.join(' or ')}.${proxyHint}`,
    );
  }
  const node = await nodeOfKey(publicKey);
  unwrap(await registryObject(env).enrol(await tokenHash(token), node, name));
  const certificate = toBase64Url(await fleetHmac(fleetSecret, certificateText(node)));
  return Response.json({ node, certificate });
};
