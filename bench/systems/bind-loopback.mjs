/**
 * Preloaded (`node --import`) into a peer gateway that would listen on all interfaces and has no option
 * against it: every `listen` on a port goes to 127.0.0.1. Changes nothing else. Plain JavaScript, because the
 * peer loads it.
 */
import { Server } from 'node:net';

const listen = Server.prototype.listen;

Server.prototype.listen = function (first, ...rest) {
  const callback = rest.find((argument) => typeof argument === 'function');
  const port = typeof first === 'object' && first !== null ? first.port : first;
  if (port === undefined) return listen.call(this, first, ...rest);
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, callback);
};
