import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { unlessInUse } from './address-in-use.ts';
import { startStatusServer } from './status-server.ts';

test('a port that is taken is told with the option that names another', async () => {
  const first = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void first.close());
  await new Promise((resolve) => first.once('listening', resolve));
  const { port } = first.address() as { readonly port: number };
  const second = startStatusServer({ host: '127.0.0.1', port }, () => '');
  await expect(unlessInUse('--status', second)).rejects.toThrow(
    `Something listens on 127.0.0.1:${port} already: stop it, or choose another --status.`,
  );
});
