/** The supervisor's report of clients that hung up, on a self-hosted edge; elsewhere there is no such path. */
import { fromBase64Url } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { hangUpHoldMs, quietMs } from '@cognitora/protocol/limits';
import { parseJsonRecord } from '@cognitora/protocol/shape';
import { hangUpsPath, parseHangUps, type QuietClients, supervisorText } from '@cognitora/protocol/supervisor';
import { readSmallBody } from '../body-budget.ts';
import { systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { fleetHmacMatches } from '../identity/tokens.ts';
import { clientsHungUp, quietClients, untilAnyClient } from '../link/client-watch.ts';

/** While an answer is held back. */
const lookEveryMs = quietMs / 2;
/** As many addresses as a report may have, twice over. */
const reportBytesMax = 512 * 1024;

export const hearHangUps = async (request: Request, env: Env): Promise<Response> => {
  const { isSelfHosted, fleetSecret, bodies } = settingsOf(env);
  if (!isSelfHosted) throw new CognitoraError('not_found', `There is no POST ${hangUpsPath}.`);
  const token = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1] ?? '';
  const tag = fromBase64Url(token) ?? new Uint8Array();
  if (!(await fleetHmacMatches(fleetSecret, supervisorText, tag))) {
    throw new CognitoraError('invalid_key', 'This is for the program that started the edge.');
  }
  const body = await readSmallBody(request, { ...bodies, bytesMax: reportBytesMax });
  clientsHungUp(parseHangUps(parseJsonRecord(body, 'bad_json', 'The report')).hungUp);
  const answer: QuietClients = { quiet: await untilQuiet() };
  return Response.json(answer);
};

/** How many clients are quiet, once one is, or nobody was for long. */
const untilQuiet = async (): Promise<number> => {
  const untilMs = systemClock() + hangUpHoldMs;
  const heldLong = sleep(hangUpHoldMs);
  for (;;) {
    await Promise.race([untilAnyClient(), heldLong]);
    const quiet = quietClients(systemClock());
    if (quiet > 0 || systemClock() >= untilMs) return quiet;
    await sleep(lookEveryMs);
  }
};

const sleep = (ms: number): Promise<void> => new Promise((accept) => setTimeout(accept, ms));
