/** A self-signed certificate for names on this machine. */
import { generateKeyPairSync } from 'node:crypto';
import { certificateOf, isThisMachine } from '@cognitora/protocol/testing/certificates';

export interface SelfSigned {
  /** PEM, both. */
  readonly certificate: string;
  readonly privateKey: string;
}

/** Valid for an hour around now, for `localhost` and 127.0.0.1. */
export const selfSigned = (): SelfSigned => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const name = 'cognitora test';
  const key = { key: publicKey, signer: privateKey };
  return {
    certificate: certificateOf({ subject: name, issuer: name, ...key, extensions: [isThisMachine] }),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
};
