/**
 * One request sent twice, through the edge and to the engine directly, and what each got: the ground of every claim
 * that bytes pass as they are.
 */
import type { FakeEngine, Received } from '../fakes/fake-engine.ts';
import type { Cluster } from './cluster.ts';
import { freshId, type RawAnswer, send } from './http.ts';

export interface CompareOptions {
  readonly cluster: Cluster;
  readonly engine: FakeEngine;
  readonly path: string;
  readonly body: Buffer | string;
  /** What the engine gets directly, where that differs from what the edge gets: the served name. */
  readonly directBody?: Buffer | string;
}

export interface Compared {
  readonly through: RawAnswer;
  readonly direct: RawAnswer;
  /** The request as the engine got it through the edge. */
  readonly received: Received;
}

export const compare = async (options: CompareOptions): Promise<Compared> => {
  const { cluster, engine, path, body, directBody = body } = options;
  const id = freshId();
  const headers = { 'content-type': 'application/json' };
  const authorization = `Bearer ${cluster.apiKey}`;
  const through = await send(cluster.url + path, {
    body,
    headers: { ...headers, authorization, 'x-request-id': id },
  });
  const direct = await send(engine.url + path, { body: directBody, headers });
  return { through, direct, received: engine.byId(id) };
};
