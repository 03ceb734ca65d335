/** What a configured value of kvcached alone may be, beside what every configuration knows. */
import { homedir } from 'node:os';
import { isAbsolute } from 'node:path';
import {
  isText,
  type Kind,
  type Listen,
  listenIn,
  quoted,
  sameText,
  shownListen,
  shownSize,
  size,
  withHome,
} from '@cognitora/protocol/config/kinds';
import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import type { Address } from './options.ts';

export const address: Kind<Address> = {
  says: 'an address and a port, or the path of a socket',
  read: (value) =>
    isText(value) && value.includes('/') ? { path: withHome(value, homedir) } : listenIn(value),
  ofText: sameText,
  show: (at) => quoted('path' in at ? at.path : shownListen(at)),
};

export const listen: Kind<Listen> = {
  says: 'an address and a port',
  read: listenIn,
  ofText: sameText,
  show: (at) => quoted(shownListen(at)),
};

const namePattern = /^(?=.{1,253}:)([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(\d{1,5})$/;

/** As others dial it: a port of 0 is none, and a host may be a name. */
export const advertised: Kind<Listen> = {
  says: 'a host and a port',
  read: (value) => {
    const [, host = '', port] = namePattern.exec(isText(value) ? value : '') ?? [];
    const at = listenIn(value) ?? { host, port: Number(port) };
    return at.port >= 1 && at.port <= 65_535 ? at : undefined;
  },
  ofText: sameText,
  show: (at) => quoted(shownListen(at)),
};

const bytes = size({ bytesMin: 2 ** 20 });

export const rate: Kind<number> = {
  says: 'bytes a second such as "100MiB/s", at least "1MiB/s"',
  read: (value) =>
    typeof value === 'string' && value.endsWith('/s') ? bytes.read(value.slice(0, -2)) : undefined,
  ofText: sameText,
  show: (each) => quoted(`${shownSize(each)}/s`),
};

export const directory: Kind<string> = {
  says: 'the absolute path of a directory',
  read: (value) => {
    const path = isText(value) ? withHome(value, homedir) : '';
    return isAbsolute(path) ? path : undefined;
  },
  ofText: sameText,
  show: quoted,
};

/** A table whose keys are read by a section of their own. */
export const fields: Kind<JsonRecord> = {
  says: 'a table of facts: { model = "...", dtype = "..." }',
  read: (value) => (isRecord(value) ? value : undefined),
  ofText: sameText,
  show: () => '{}',
};
