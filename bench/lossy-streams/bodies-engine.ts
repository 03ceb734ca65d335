/** An engine that says of each request how many bytes came and their hash, in an answer that is no stream. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendJson } from '../../test/fakes/fake-engine.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { type BodiesAnswer, type BodiesCommand, bodiesModel } from './messages.ts';

const hashOf = async (incoming: IncomingMessage): Promise<string> => {
  const hash = createHash('sha256');
  for await (const part of incoming as AsyncIterable<Buffer>) hash.update(part);
  return hash.digest('hex');
};

const models = JSON.stringify({ object: 'list', data: [{ id: bodiesModel, object: 'model', created: 1 }] });

const server = createServer((incoming, response) => {
  if (incoming.method === 'GET') {
    sendJson(response, 200, models);
    return;
  }
  hashOf(incoming).then(
    (content) => {
      const choice = { index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' };
      sendJson(response, 200, JSON.stringify({ id: 'b', object: 'chat.completion', choices: [choice] }));
    },
    () => response.destroy(),
  );
});

serveCommands<BodiesCommand, BodiesAnswer>(async () => {
  if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port };
});
