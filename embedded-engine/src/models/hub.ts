/**
 * How the Hugging Face hub speaks: addresses, the digests in its headers, and where a token may go. Requests
 * follow redirects by hand, because the token belongs to the hub's own origin and to nobody it points to.
 */
import { createHash, type Hash } from 'node:crypto';
import { downloadRedirectsMax } from '../limits.ts';

export interface HubFile {
  readonly owner: string;
  readonly repo: string;
  readonly file: string;
}

export interface Digest {
  /**
   * `sha256` of the bytes for large files; git's blob name for small ones: sha1 over a header and the bytes.
   */
  readonly kind: 'sha256' | 'git-blob';
  readonly hex: string;
}

export function fileUrl(endpoint: string, file: HubFile): URL {
  const path = file.file.split('/').map(encodeURIComponent).join('/');
  const base = endpoint.endsWith('/') ? endpoint : `${endpoint}/`;
  return new URL(`${file.owner}/${file.repo}/resolve/main/${path}`, base);
}

/** `x-linked-etag` and `etag` carry the digest in quotes; 64 hex digits are a sha256, 40 are git's. */
export function parseDigest(etag: string | null): Digest | undefined {
  const hex = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/i.exec(etag ?? '')?.[1]?.toLowerCase();
  if (hex === undefined) return undefined;
  return { kind: hex.length === 64 ? 'sha256' : 'git-blob', hex };
}

export function startHash(digest: Digest, sizeBytes: number): Hash {
  if (digest.kind === 'sha256') return createHash('sha256');
  return createHash('sha1').update(`blob ${sizeBytes}\0`);
}

export interface HubRequest {
  readonly url: URL;
  readonly method: 'HEAD' | 'GET';
  readonly token: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/**
 * Sends a request and follows redirects. `until` may end the walk early at a response that already tells
 * enough, as the hub's own redirect to its storage does for a HEAD.
 */
export async function request(wanted: HubRequest, until: (response: Response) => boolean): Promise<Response> {
  let { url } = wanted;
  for (let hop = 0; hop <= downloadRedirectsMax; hop++) {
    const ownOrigin = url.origin === wanted.url.origin;
    const response = await fetch(url, {
      method: wanted.method,
      redirect: 'manual',
      signal: wanted.signal,
      headers: {
        ...wanted.headers,
        // A compressed answer would break sizes and ranges.
        'accept-encoding': 'identity',
        'user-agent': 'cognitora-embedded-engine',
        ...(ownOrigin && wanted.token !== undefined ? { authorization: `Bearer ${wanted.token}` } : {}),
      },
    });
    const location = response.headers.get('location');
    if (!isRedirect(response.status) || location === null || until(response)) return response;
    await response.body?.cancel();
    url = new URL(location, url);
  }
  throw new Error(`more than ${downloadRedirectsMax} redirects`);
}
