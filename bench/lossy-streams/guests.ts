/** A process of clients that are trouble for others: large bodies, and a stream that is read a byte a second. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { messageOf } from '@cognitora/protocol/errors';
import { monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { bodiesModel, type GuestAnswer, type GuestCommand, type Target } from './messages.ts';

const path = '/v1/chat/completions';
const readEveryMs = 1_000;

/** Of just so many bytes, no two blocks alike. */
const bodyOf = (bytes: number, index: number): Buffer => {
  const head = `{"model":"${bodiesModel}","messages":[{"role":"user","content":"${index} `;
  const tail = '"}]}';
  const body = Buffer.alloc(bytes, head);
  for (let at = head.length; at < bytes; at += 10)
    body.write(String(at).padStart(9, '0').padEnd(10), at, 'latin1');
  body.write(tail, bytes - tail.length, 'latin1');
  return body;
};

const sendBody = ({ host, port, apiKey }: Target, body: Buffer): Promise<string | undefined> =>
  new Promise((resolve) => {
    const headers = {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      'content-length': String(body.length),
    };
    const outgoing = request({ host, port, path, method: 'POST', headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (part: string) => {
        text += part;
      });
      incoming.once('close', () => {
        const hash = createHash('sha256').update(body).digest('hex');
        resolve(text.includes(hash) ? undefined : `${incoming.statusCode} ${text.slice(0, 200)}`);
      });
    });
    outgoing.once('error', (thrown) => resolve(messageOf(thrown)));
    outgoing.end(body);
  });

const sendBodies = async (
  { target, bytes, count, atOnce }: Extract<GuestCommand, { kind: 'bodies' }>,
  answer: { ms: number[]; wrong: string[] },
): Promise<void> => {
  let next = 0;
  const connection = async (): Promise<void> => {
    while (next < count) {
      const body = bodyOf(bytes, next);
      next += 1;
      const beganUs = monotonicUs();
      const wrong = await sendBody(target, body);
      answer.ms.push((monotonicUs() - beganUs) / 1e3);
      if (wrong !== undefined) answer.wrong.push(wrong);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, connection));
};

let slow: Socket | undefined;
let readBytes = 0;

const readSlowly = ({ target, events }: Extract<GuestCommand, { kind: 'read slowly' }>): void => {
  const { host, port, apiKey } = target;
  const body =
    '{"model":"bench","messages":[{"role":"user","content":"Flood me."}],"stream":true,"user":"99999999",' +
    `"max_tokens":${events},"bench_interval_ms":0}`;
  const callback = (): boolean => {
    readBytes += 1;
    setTimeout(() => socket.resume(), readEveryMs);
    return false;
  };
  const socket: Socket = connect({ host, port, onread: { buffer: Buffer.alloc(1), callback } });
  slow = socket;
  socket.on('error', () => socket.destroy());
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\ncontent-type: application/json\r\n` +
      `authorization: Bearer ${apiKey}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
};

serveCommands<GuestCommand, GuestAnswer>(async (command) => {
  const answer = { ms: [] as number[], wrong: [] as string[] };
  if (command.kind === 'bodies') await sendBodies(command, answer);
  else if (command.kind === 'read slowly') {
    readBytes = 0;
    readSlowly(command);
  } else slow?.resetAndDestroy();
  return { ...answer, readBytes };
});
