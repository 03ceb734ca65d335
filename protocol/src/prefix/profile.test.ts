import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorOf } from '../../testing/bytes-in-pieces.ts';
import type { JsonRecord } from '../shape.ts';
import { blindProfile, parseProfile, plainProfile, profileMessage, profileOf } from './profile.ts';
import { someFacts } from './testing/some-facts.ts';

/** Over the link and back. */
const sent = (message: JsonRecord): JsonRecord => JSON.parse(JSON.stringify(message)) as JsonRecord;

test('a profile crosses the link as JSON, and is the same profile at the other end', () => {
  fc.assert(
    fc.property(someFacts, (facts) => {
      const profile = profileOf(facts);
      expect(parseProfile(sent(profileMessage(profile)))).toEqual(profile);
    }),
  );
});

test('its id is that of its facts: the order of a list is none of them, every fact is', () => {
  fc.assert(
    fc.property(someFacts, someFacts, (left, right) => {
      const turned = {
        ...left,
        trimmed: left.trimmed.toReversed(),
        headFields: left.headFields.toReversed(),
      };
      expect(profileOf(turned)).toEqual(profileOf(left));
      const areEqual = JSON.stringify(sorted(left)) === JSON.stringify(sorted(right));
      expect(profileOf(left).id === profileOf(right).id).toBe(areEqual);
    }),
  );
});

const sorted = (facts: object): object =>
  Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [name, Array.isArray(value) ? value.toSorted() : value]),
  );

test('what breaks the rules is a protocol error that names the field', () => {
  const message = profileMessage(profileOf(plainProfile));
  const wrong: readonly [string, unknown][] = [
    ['version', 0],
    ['claims', 'some'],
    ['system', 'nowhere'],
    ['laterSystem', true],
    ['developerIsSystem', 'yes'],
    ['tools', null],
    ['toolsBeforeSystem', 1],
    ['trimmed', ['everyone']],
    ['trimmed', 'user'],
    ['reasoning', []],
    ['reasoning', { ...plainProfile.reasoning, inline: 'maybe' }],
    ['trimsAfterThink', undefined],
    ['keepsThinkAfterResult', 0],
    ['dropsCallText', {}],
    ['partSeparator', 7],
    ['partSeparator', 'x'.repeat(9)],
    ['headFields', ['anything']],
  ];
  for (const [name, value] of wrong) {
    const thrown = errorOf(() => parseProfile({ ...message, [name]: value }));
    expect([name, thrown?.code]).toEqual([name, 'protocol_error']);
  }
  expect(parseProfile({ ...message, something: 'new' })).toEqual(parseProfile(message));
});

test('with a profile of a later version nothing is claimed', () => {
  expect(parseProfile({ version: 2, claims: { all: 'but' } })).toEqual(blindProfile);
  expect(blindProfile.claims).toBe('none');
});
