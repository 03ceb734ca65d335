/** The API key and the join token that an edge of ours hands out when it is brought up. */
import type { AdminClient } from './admin-client.ts';
import type { Credentials } from './credentials.ts';

export interface Issued {
  readonly credentials: Required<Credentials>;
  readonly joinToken: string;
}

/** The API key of last time while it holds, else a new one; and a fresh join token. */
export const issueTokens = async (client: AdminClient, known: Credentials): Promise<Issued> => {
  const { adminKey, fleetSecret } = known;
  let { apiKey } = known;
  if (apiKey === undefined || (await client.request('GET', '/v1/models', apiKey)).status !== 200) {
    const made = await client.call('POST', '/keys', { name: 'cgn up', scopes: ['chat', 'embeddings'] });
    apiKey = (made as { readonly key: string }).key;
  }
  const { joinToken } = (await client.call('POST', '/join-tokens', {})) as { readonly joinToken: string };
  return { credentials: { adminKey, fleetSecret, apiKey, url: client.url }, joinToken };
};
