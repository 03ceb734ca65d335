/**
 * Which node an operator means: an id, the beginning of one, or a host's name, as long as it is only one. Pure.
 */
import { CognitoraError } from '@cognitora/protocol/errors';
import type { NodeId } from '@cognitora/protocol/ids';

export interface NamedNode {
  readonly node: NodeId;
  readonly name: string;
}

/** Of those that were meant so many are listed: an error is no table. */
const matchesShownMax = 8;
/** One more than are listed, and room for hosts that go by another name now. */
export const nodeMatchesMax = 4 * matchesShownMax;

/**
 * The one node of that reference. `linked` have the name that their hosts use now; `enrolled` the one they had when
 * they enrolled. Throws `not_found`, or `invalid_request` with the matches when there are several.
 */
export const nodeOf = (
  reference: string,
  enrolled: readonly NamedNode[],
  linked: readonly NamedNode[],
): NamedNode => {
  const known = new Map([...enrolled, ...linked].map(({ node, name }) => [node, { node, name }]));
  const exact = known.get(reference as NodeId);
  if (exact !== undefined) return exact;
  const meant = [...known.values()].filter(
    ({ node, name }) => name === reference || node.startsWith(reference),
  );
  const [only, second] = meant;
  if (only === undefined) {
    const message = `There is no node ${JSON.stringify(reference)}. "cgn nodes" lists them.`;
    throw new CognitoraError('not_found', message);
  }
  if (second === undefined) return only;
  const shown = meant.slice(0, matchesShownMax).map(({ node, name }) => `${node} (${name})`);
  const more = meant.length > shown.length ? ', and more' : '';
  throw new CognitoraError(
    'invalid_request',
    `${JSON.stringify(reference)} may be any of ${shown.join(', ')}${more}. Give more of the id.`,
    { param: 'node' },
  );
};
