import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MovesStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import type { Listen } from '@cognitora/protocol/config/kinds';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { agentStatus, replicaStatus } from '../../testing/agent-status.ts';
import { connectionMsMax, serveStatus } from './server.ts';
import { writeStatusFile } from './status-file.ts';

const serve = async (status: StatusAnswer, listen: Listen = { host: '127.0.0.1', port: 0 }) => {
  const server = await serveStatus(listen, () => status);
  onTestFinished(() => server.close());
  return server.url;
};

const get = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  new Promise<{ readonly status: number | undefined; readonly text: string }>((resolve, reject) => {
    const asked = request(url, { headers, method }, (response) => {
      let text = '';
      response.on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    asked.on('error', reject);
    asked.end();
  });

test('health is 200 with words, or 503 with why', async () => {
  const healthy = await serve(agentStatus());
  expect(await get(`${healthy}/healthz`)).toEqual({
    status: 200,
    text: '1 of 1 replicas ready\n',
  });
  const loading = await serve(agentStatus({ replicas: [replicaStatus({ state: 'loading' })] }));
  const answer = await get(`${loading}/healthz`);
  expect(answer).toEqual({ status: 503, text: 'no replica is ready: r0 loading\n' });
});

test('the status is there as JSON, and its numbers for Prometheus', async () => {
  const status = agentStatus();
  const url = await serve(status);
  expect(JSON.parse((await get(`${url}/status`)).text)).toEqual(status);
  const { text } = await get(`${url}/metrics`);
  const replica = 'replica="r0",profile="openai"';
  for (const sample of [
    'cognitora_agent_linked{} 1',
    'cognitora_agent_epoch{} 3',
    'cognitora_agent_redials_total{} 2',
    'cognitora_agent_live_requests{} 1',
    'cognitora_agent_streams_detached{} 1',
    'cognitora_agent_streams_resumed_total{} 4',
    'cognitora_agent_streams_unclaimed_total{} 3',
    'cognitora_agent_kept_bytes{} 65536',
    `cognitora_agent_replica_ready{${replica}} 1`,
    `cognitora_agent_replica_state{${replica},state="ready"} 1`,
    `cognitora_agent_replica_requests_total{${replica}} 7`,
    `cognitora_agent_replica_body_bytes_total{${replica}} 4096`,
    `cognitora_agent_replica_answers_total{${replica},status="5xx"} 1`,
    `cognitora_agent_replica_errors_total{${replica},code="engine_broke_off"} 2`,
    `cognitora_agent_replica_trust{${replica},model="m"} 2`,
    'cognitora_agent_uptime_seconds{} 61',
    'cognitora_agent_resident_bytes{} 100',
    'cognitora_agent_log_lines_dropped_total{} 5',
  ]) {
    expect(text).toContain(`${sample}\n`);
  }
});

test('moves of KV are there: saved, restored, refused by reason; and none where there are none', async () => {
  const moves: MovesStatus = {
    canMove: true,
    saved: { count: 3, bytes: 12_000, ms: 40 },
    restored: { count: 1, bytes: 4_000, ms: 9 },
    refused: { too_late: 2 },
  };
  const replicas = [replicaStatus(), replicaStatus({ name: 'r1' as ReplicaName, moves })];
  const { text } = await get(`${await serve(agentStatus({ replicas }))}/metrics`);
  const of = 'replica="r1",profile="openai"';
  expect(text.split('\n').filter((line) => line.startsWith('cognitora_agent_moves'))).toEqual([
    `cognitora_agent_moves_possible{${of}} 1`,
    `cognitora_agent_moves_total{${of},move="saved"} 3`,
    `cognitora_agent_moves_total{${of},move="restored"} 1`,
    `cognitora_agent_moves_bytes_total{${of},move="saved"} 12000`,
    `cognitora_agent_moves_bytes_total{${of},move="restored"} 4000`,
    `cognitora_agent_moves_ms_total{${of},move="saved"} 40`,
    `cognitora_agent_moves_ms_total{${of},move="restored"} 9`,
    `cognitora_agent_moves_refused_total{${of},reason="too_late"} 2`,
  ]);
});

test('without a link there is no epoch, rather than a zero', async () => {
  const link = { state: 'dialling', edge: 'https://edge.example', sinceMs: 0, redials: 0 } as const;
  const { text } = await get(`${await serve(agentStatus({ link }))}/metrics`);
  expect(text).toContain('cognitora_agent_linked{} 0\n');
  expect(text).not.toContain('epoch');
});

test('what is none of its paths, methods or names is refused', async () => {
  const url = await serve(agentStatus());
  expect(await get(`${url}/admin`)).toMatchObject({ status: 404 });
  expect(await get(`${url}/status`, {}, 'POST')).toMatchObject({ status: 405 });
  expect(await get(`${url}/status`, {}, 'HEAD')).toEqual({ status: 200, text: '' });
  expect(await get(`${url}/status`, { host: 'page.example' })).toMatchObject({ status: 403 });
  expect(await get(`${url}/status`, { host: 'localhost:9400' })).toMatchObject({ status: 200 });
});

describe('readers that never go', () => {
  /** Ends with what it received once the server has ended the connection. */
  const dial = async (url: string, said: string) => {
    const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    let text = '';
    socket.on('data', (part) => {
      text += part;
    });
    socket.on('error', () => {});
    const closed = new Promise<string>((resolve) => {
      socket.once('close', () => resolve(text));
    });
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(said);
    return { socket, closed };
  };

  test('an answered connection is closed, whatever its reader wishes', async () => {
    const asked = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n';
    const { closed } = await dial(await serve(agentStatus()), asked);
    const text = await closed;
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text.toLowerCase()).toContain('connection: close');
  });

  test('one that says nothing is dropped', async () => {
    const { closed } = await dial(await serve(agentStatus()), '');
    expect(await closed).toBe('');
  }, 15_000);

  test('those that send a byte now and then take nobody’s place for long', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const url = await serve(agentStatus());
    const readers = await Promise.all(
      Array.from({ length: 32 }, () => dial(url, 'GET /healthz HTTP/1.1\r\nX: ')),
    );
    const trickle = setInterval(() => {
      for (const { socket } of readers) socket.write('E');
    }, 500);
    onTestFinished(() => clearInterval(trickle));
    await expect(get(`${url}/healthz`)).rejects.toThrow();
    await vi.advanceTimersByTimeAsync(connectionMsMax);
    await Promise.all(readers.map(({ closed }) => closed));
    expect(await get(`${url}/healthz`)).toMatchObject({ status: 200 });
  });
});

test('it listens on IPv6 too, and says when a port is taken', async () => {
  const url = await serve(agentStatus(), { host: '::1', port: 0 });
  expect(url).toMatch(/^http:\/\/\[::1\]:\d+$/);
  expect(await get(`${url}/healthz`)).toMatchObject({ status: 200 });
  const port = Number(new URL(url).port);
  await expect(serveStatus({ host: '::1', port }, agentStatus)).rejects.toMatchObject({ syscall: 'listen' });
});

test('the data directory says where it is, as long as it is this agent that is there', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const remove = writeStatusFile(directory, { url: 'http://127.0.0.1:1', pid: 1 });
  expect(JSON.parse(readFileSync(join(directory, 'status.json'), 'utf8'))).toEqual({
    url: 'http://127.0.0.1:1',
    pid: 1,
  });
  const removeNext = writeStatusFile(directory, { url: 'http://127.0.0.1:2', pid: 2 });
  remove();
  expect(readdirSync(directory)).toEqual(['status.json']);
  removeNext();
  removeNext();
  expect(readdirSync(directory)).toEqual([]);
});
