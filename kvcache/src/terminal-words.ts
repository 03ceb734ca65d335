/** What the daemon says on a terminal, where a program gets its line of JSON. Pure. */
import type { AddressInfo } from 'node:net';
import { shownListen } from '@cognitora/protocol/config/kinds';
import type { PeerAddress } from '@cognitora/protocol/kv-daemon';

export interface Serving {
  readonly resp: readonly (AddressInfo | string | null)[];
  readonly status: AddressInfo | string | null | undefined;
  readonly socket: string;
  /** On the disk, from earlier. */
  readonly values: number;
  /** Undefined: it has no peers. */
  readonly peers: readonly PeerAddress[] | undefined;
}

const shown = (at: AddressInfo | string | null): string =>
  at === null ? '-' : typeof at === 'string' ? at : shownListen({ host: at.address, port: at.port });

export const servingWords = ({ resp, status, socket, values, peers }: Serving): string => {
  const places = new Set((peers ?? []).map(shownListen));
  const rows = [
    ['Redis clients', resp.map(shown).join(', ') || 'nowhere'],
    ['/metrics', status ? `http://${shown(status)}/metrics` : 'off'],
    ['cgn kv, agent', socket],
    ['other hosts', peers === undefined ? 'none: started without --peers' : [...places].join(', ')],
    ['on its disk', `${values} values`],
  ].map(([name = '', value]) => `  ${name.padEnd(13)}  ${value}`);
  return `kvcached serves; Ctrl-C stops it.\n${rows.join('\n')}\n`;
};

const mebibyte = 2 ** 20;

export const stoppingWords = (dirtyBytes: number): string =>
  dirtyBytes === 0
    ? 'Stopping.'
    : `Stopping: writing ${Math.ceil(dirtyBytes / mebibyte)} MiB to the disk. Ctrl-C again loses it.`;
