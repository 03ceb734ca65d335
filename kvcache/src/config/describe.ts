/** What a configuration would run, in words: `--check-config`. Shows no secret, only whether there is one. */
import { shownListen, shownSize } from '@cognitora/protocol/config/kinds';
import type { NamespaceFields } from '@cognitora/protocol/kv-daemon';
import { canonicalFields } from '@cognitora/protocol/kv-daemon-bodies';
import { namespaceOf } from '../namespaces.ts';
import type { Address } from './options.ts';
import type { ParsedOptions } from './parse.ts';

const shownAddress = (at: Address): string => ('path' in at ? at.path : shownListen(at));

const shownFields = (fields: NamespaceFields): string => `${namespaceOf(fields)} ${canonicalFields(fields)}`;

export const describeOptions = ({ options, path }: ParsedOptions): string => {
  const { ssd, resp, status, password, peers, ttlMs, namespaces, mirrors } = options;
  const rows: (readonly [string, string])[] = [
    ['file', path ?? 'none'],
    ['data_dir', options.dataDirectory],
    ['ram', shownSize(options.ramBytesMax)],
    ['disk', ssd === undefined ? 'none' : shownSize(ssd.bytesMax)],
    ['listen', resp.length === 0 ? 'nowhere' : resp.map(shownAddress).join(', ')],
    ['password', password === undefined ? 'none' : 'given'],
    ['status', status === undefined ? 'off' : shownListen(status)],
    ['socket', options.socket],
    ['ttl', ttlMs === undefined ? 'none' : `${ttlMs / 1_000} s`],
    ['peers', peers === undefined ? 'none' : `on ${peers.listen.map(shownListen).join(', ')}`],
    ...(peers === undefined ? [] : [['identity', peers.identity] as const]),
    ...namespaces.map(({ database, fields }) => [`database ${database}`, shownFields(fields)] as const),
    ...mirrors.map(({ directory, fields, bytesMax, isReplicated }) => {
      const cap = bytesMax === undefined ? '' : `, at most ${shownSize(bytesMax)}`;
      const how = isReplicated ? ', replicated' : '';
      return ['mirror', `${directory}${cap}${how}: ${shownFields(fields)}`] as const;
    }),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')}\n`;
};
