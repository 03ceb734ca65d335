/**
 * SHA256SUMS and the signature over it: ECDSA P-256 over SHA-256, DER, in base64, as `cosign verify-blob --key` and
 * `openssl dgst -verify` read it. The private key comes from a file, never from the command line, and is never printed.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';

/** Lines as sha256sum writes and checks them. */
export const sumsOf = (files: readonly { readonly name: string; readonly path: string }[]): string =>
  [...files]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, path }) => `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${name}\n`)
    .join('');

/** Throws with what to do where the file holds no such key, or others may read it. */
export const signingKeyIn = (path: string): KeyObject => {
  if (!existsSync(path))
    throw new Error(`There is no key file "${path}": name yours in CGN_RELEASE_KEY_FILE. ${howToMake}`);
  if ((statSync(path).mode & 0o077) !== 0)
    throw new Error(`${path} can be read by others than its owner: chmod 600 ${path}`);
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(path));
  } catch {
    throw new Error(`${path} holds no private key in PEM without a password. ${howToMake}`);
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new Error(`${path} holds a key of another kind than ECDSA P-256. ${howToMake}`);
  return key;
};

const howToMake = 'Make one: (umask 077; openssl ecparam -name prime256v1 -genkey -noout -out release.key)';

export const signatureOf = (sums: string, key: KeyObject): string =>
  `${sign('sha256', Buffer.from(sums), { key, dsaEncoding: 'der' }).toString('base64')}\n`;

export const publicPemOf = (key: KeyObject): string =>
  createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString().trim();

/** The public key that install.sh trusts; undefined while it has none. */
export const pinnedKeyIn = (installer: string): string | undefined => {
  const [, pem = ''] = /^release_key='([^']*)'$/m.exec(installer) ?? [];
  return pem.trim() || undefined;
};
