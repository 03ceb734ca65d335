/** A fleet's CA for tests: certificates over nodes' keys, and those that must be refused. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  aroundNow,
  certificateOf,
  isAuthority,
  type Validity,
} from '@cognitora/protocol/testing/certificates';
import { type NodeKey, nodeKeyOf } from '../identity.ts';
import type { Certified, Credentials } from '../transport.ts';

export const newNodeKey = (): NodeKey =>
  nodeKeyOf(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());

export interface Authority {
  /** PEM. */
  readonly ca: string;
  certify(key: NodeKey, validity?: Validity): string;
}

export const newAuthority = (): Authority => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const issuer = 'fleet';
  const extensions = [isAuthority];
  const ca = certificateOf({ subject: issuer, issuer, key: publicKey, signer: privateKey, extensions });
  const certify = (key: NodeKey, validity = aroundNow()): string => {
    const subject = { subject: key.node, key: createPublicKey(key.privateKey) };
    return certificateOf({ ...subject, issuer, signer: privateKey, ...validity });
  };
  return { ca, certify };
};

/** A certificate that the key itself signed. */
export const selfSigned = ({ node, privateKey }: NodeKey): string =>
  certificateOf({ subject: node, issuer: node, key: createPublicKey(privateKey), signer: privateKey });

export const credentialsOf = (key: NodeKey, certified: Certified | undefined): Credentials => ({
  key,
  certified: () => certified,
});
