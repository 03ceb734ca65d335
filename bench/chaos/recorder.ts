/**
 * A process between an agent and a real engine that passes HTTP on as it is and keeps, of each inference request that
 * came with an id, its body and what was answered: afterwards it can be told what each engine was asked and said. When
 * the engine breaks off, so does this.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveCommands } from '../machine/worker-process.ts';
import type { Recorded, RecorderAnswer, RecorderCommand } from './recorder-messages.ts';

let enginePort = 0;
const recorded: Recorded[] = [];
/** More than a run of an hour makes. */
const recordedMax = 20_000;

const bodyOf = async (incoming: IncomingMessage): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of incoming as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
};

const pass = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
  const body = await bodyOf(incoming);
  const { method, url: path = '', headers } = incoming;
  const requestId = String(headers['x-request-id'] ?? '');
  const record: Recorded = { requestId, path, body: body.toString(), answer: '', isWhole: false };
  if (requestId !== '' && recorded.length < recordedMax) recorded.push(record);
  const outgoing = request({ host: '127.0.0.1', port: enginePort, method, path, headers, agent: false });
  outgoing.once('error', () => response.destroy());
  response.once('close', () => outgoing.destroy());
  outgoing.once('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    const decoder = new TextDecoder();
    answer.on('data', (bytes: Buffer) => {
      response.write(bytes);
      if (requestId !== '') record.answer += decoder.decode(bytes, { stream: true });
    });
    answer.once('error', () => response.destroy());
    answer.once('end', () => {
      record.isWhole = answer.complete;
      response.end();
    });
  });
  outgoing.end(body);
};

const server = createServer((incoming, response) => {
  pass(incoming, response).catch(() => response.destroy());
});
server.keepAliveTimeout = 60_000;

const ask = async (path: string, body: string): Promise<string> => {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`http://127.0.0.1:${enginePort}${path}`, { method: 'POST', headers, body });
  return answer.text();
};

serveCommands<RecorderCommand, RecorderAnswer>(async (command) => {
  if (command.kind === 'engine') enginePort = command.port;
  if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const text = command.kind === 'ask' ? await ask(command.path, command.body) : '';
  return { port, recorded: command.kind === 'recorded' ? recorded : [], text };
});
