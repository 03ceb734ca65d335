/** What a configured value of the agent alone may be, beside what every configuration knows. */
import { isText, type Kind, quoted, sameText } from '@cognitora/protocol/config/kinds';
import { parseRegion, type Region } from '@cognitora/protocol/ids';

/** Within a node, and part of a replica's id and of file names. */
const replicaPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const replicaName: Kind<string> = {
  says: 'a name of at most 64 letters, digits, ".", "_" and "-"',
  read: (value) => (typeof value === 'string' && replicaPattern.test(value) ? value : undefined),
  ofText: sameText,
  show: quoted,
};

export const region: Kind<Region> = {
  says: 'a lower-case name such as "weur"',
  read: (value) => (typeof value === 'string' ? parseRegion(value) : undefined),
  ofText: sameText,
  show: quoted,
};

const endpointPattern = /^(?:tcp:\/\/[^\s/*]+:\d{1,5}|ipc:\/\/\S.*)$/;

export const zeromqEndpoint: Kind<string> = {
  says: 'an endpoint such as "tcp://127.0.0.1:5557"',
  read: (value) => (isText(value) && endpointPattern.test(value) ? value : undefined),
  ofText: sameText,
  show: quoted,
};
