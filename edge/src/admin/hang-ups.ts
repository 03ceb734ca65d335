/** The supervisor's report of clients that hung up, on a self-hosted edge; elsewhere there is no such path. */
import { fromBase64Url } from '@cognitora/protocol/bytes';
import { CognitoraError } from '@cognitora/protocol/errors';
import { parseJsonRecord } from '@cognitora/protocol/shape';
import { hangUpsPath, parseHangUps, type QuietClients, supervisorText } from '@cognitora/protocol/supervisor';
import { readSmallBody } from '../body-budget.ts';
import { systemClock } from '../clock.ts';
import { type Env, settingsOf } from '../env.ts';
import { fleetHmacMatches } from '../identity/tokens.ts';
import { clientsHungUp, untilQuiet } from '../link/client-watch.ts';

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
  const answer: QuietClients = { quiet: await untilQuiet(systemClock) };
  return Response.json(answer);
};
