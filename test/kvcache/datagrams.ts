/** Numbered datagrams from one process to another, with the time each left: what a link did, seen from outside. */
import { createSocket, type Socket } from 'node:dgram';
import { monotonicUs } from '../../bench/machine/clock.ts';
import { serveCommands } from '../../bench/machine/worker-process.ts';

export type DatagramCommand =
  | { readonly do: 'bind'; readonly host: string }
  | {
      readonly do: 'send';
      readonly host: string;
      readonly port: number;
      readonly count: number;
      readonly bytes: number;
      /** So many at once, then a pause of 1 ms. */
      readonly burst: number;
    }
  | { readonly do: 'seen' };

/** What came since it was last asked, in the order it came. */
export interface DatagramAnswer {
  readonly port: number;
  readonly numbers: readonly number[];
  readonly delaysUs: readonly number[];
}

const seen: { numbers: number[]; delaysUs: number[] } = { numbers: [], delaysUs: [] };
let receiving: Socket | undefined;

const bind = (host: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 2 ** 20 });
    receiving = socket;
    socket.once('error', reject);
    socket.on('message', (message) => {
      seen.numbers.push(message.readUInt32LE(0));
      seen.delaysUs.push(monotonicUs() - message.readDoubleLE(4));
    });
    socket.bind(0, host, resolve);
  });

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const sendOne = (
  socket: Socket,
  number: number,
  { bytes, port, host }: { bytes: number; port: number; host: string },
) =>
  new Promise<void>((resolve, reject) => {
    const message = Buffer.alloc(bytes);
    message.writeUInt32LE(number, 0);
    message.writeDoubleLE(monotonicUs(), 4);
    socket.send(message, port, host, (thrown) => (thrown === null ? resolve() : reject(thrown)));
  });

serveCommands<DatagramCommand, DatagramAnswer>(async (command) => {
  if (command.do === 'bind') await bind(command.host);
  if (command.do === 'send') {
    const socket = createSocket('udp4');
    for (let number = 0; number < command.count; number += 1) {
      if (number > 0 && number % command.burst === 0) await pause(1);
      await sendOne(socket, number, command);
    }
    socket.close();
  }
  const answer = { port: receiving?.address().port ?? 0, numbers: seen.numbers, delaysUs: seen.delaysUs };
  [seen.numbers, seen.delaysUs] = [[], []];
  return answer;
});
