/** A mutual TLS 1.3 handshake between two hosts of a fleet, with Node's own TLS. Only tests import it. */
import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import type { NodeId } from '@cognitora/protocol/ids';
import { onTestFinished } from 'vitest';

export interface TlsHost {
  readonly node: NodeId;
  readonly key: KeyObject;
  /** PEM. */
  readonly certificate: string;
  readonly ca: string;
}

export interface Ends {
  readonly server: TlsHost;
  readonly client: TlsHost;
  /** Whom the client means to reach. */
  readonly servername?: NodeId;
}

const credentials = ({ key, certificate, ca }: TlsHost) => ({
  ...{ key: key.export({ type: 'pkcs8', format: 'pem' }), cert: certificate, ca },
});

/** Whom each end takes the other for; or why it does not, the client's end in OpenSSL's code. */
export const shakeHands = async ({ server: own, client, servername = own.node }: Ends) => {
  const options = { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' } as const;
  const server = createServer({ ...credentials(own), ...options });
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const accepted = new Promise((resolve) => {
    server.on('secureConnection', (socket) => resolve(socket.getPeerCertificate().subject.CN));
    server.on('tlsClientError', ({ message }) => resolve(message));
  });
  const { port } = server.address() as AddressInfo;
  const socket = connect({ ...credentials(client), port, host: '127.0.0.1', servername });
  onTestFinished(() => void socket.destroy());
  const connected = new Promise((resolve) => {
    socket.on('secureConnect', () => resolve(socket.getPeerCertificate().subject.CN));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
  });
  return [await connected, await accepted];
};
