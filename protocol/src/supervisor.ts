/**
 * What the program that runs a self-hosted edge tells it: which clients have hung up. Plain workerd sees an orderly
 * close only when it next writes to the client; the kernel sees it at once. Both names of a client, the kernel's and
 * workerd's, are its address and port as `request.cf.clientIp` has them: `127.0.0.1:4711`, `[::1]:4711`.
 *
 *   POST /internal/hang-ups   {"hungUp":["127.0.0.1:4711"]}  ->  {"quiet":3}
 *   Authorization: Bearer <base64url of the fleet secret's HMAC-SHA256 over `supervisorText`>
 *
 * The answer counts the requests to whose client nothing was written of late. It is held back until there is one, for
 * `hangUpHoldMs` at most: meanwhile nobody need look.
 */
import { utf8 } from './bytes.ts';
import { hangUpsPerReportMax } from './limits.ts';
import { FieldReader, type JsonRecord } from './shape.ts';

export const hangUpsPath = '/internal/hang-ups';

/** What the supervisor's token authenticates. */
export const supervisorText: Uint8Array = utf8('cognitora supervisor v1\n');

export interface HangUps {
  readonly hungUp: readonly string[];
}

export interface QuietClients {
  readonly quiet: number;
}

export const parseHangUps = (record: JsonRecord): HangUps => {
  const reader = new FieldReader(record, 'invalid_request', 'hang-ups');
  const hungUp = reader.list('hungUp', hangUpsPerReportMax);
  return { hungUp: hungUp.filter((client) => typeof client === 'string') };
};

export const parseQuietClients = (record: JsonRecord): QuietClients => {
  const reader = new FieldReader(record, 'protocol_error', 'hang-ups');
  return { quiet: reader.integer('quiet', 0, Number.MAX_SAFE_INTEGER) };
};
