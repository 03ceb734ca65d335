import { expect, test } from 'vitest';
import { servingWords, stoppingWords } from './terminal-words.ts';

const at = (port: number) => ({ address: '127.0.0.1', family: 'IPv4', port });

test('who starts it on a terminal reads where it is asked, each place once', () => {
  const peer = { host: '10.0.0.7', port: 6381 };
  const peers = [
    { ...peer, transport: 'tls' },
    { ...peer, transport: 'quic' },
  ] as const;
  const words = servingWords({ resp: [at(6379), '/r'], status: at(6380), socket: '/s', values: 3, peers });
  expect(words).toMatch(/Redis clients +127\.0\.0\.1:6379, \/r$/m);
  expect(words).toContain('http://127.0.0.1:6380/metrics');
  expect(words).toMatch(/other hosts +10\.0\.0\.7:6381$/m);
  const less = servingWords({ resp: [], status: undefined, socket: '/s', values: 0, peers: undefined });
  expect(less).toMatch(/nowhere\n.* off\n.*\n.*without --peers/);
});

test('what is still to be written at the end is told', () => {
  expect(stoppingWords(0)).toBe('Stopping.');
  expect(stoppingWords(2 ** 20 + 1)).toMatch(/writing 2 MiB/);
});
