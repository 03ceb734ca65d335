import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { expect, test } from 'vitest';
import { ProfileLead, type ProfileOffer, profileAheadMsMin } from './profile-lead.ts';

const offer = (id: string, voter: string | undefined): ProfileOffer => ({
  profile: { ...plainProfile, id },
  voter,
});
const odd = offer('odd', 'x');
const most = ['a', 'b', 'c'].map((voter) => offer('most', voter));

test('the first one offered leads until more nodes have offered another for a while', () => {
  const lead = new ProfileLead();
  expect([lead.count([odd], 0), lead.leader?.id]).toEqual([true, 'odd']);
  expect([lead.count([odd, ...most], 0), lead.isDue(999), lead.isDue(1_000)]).toEqual([false, false, true]);
  expect([lead.count([odd, ...most], profileAheadMsMin - 1), lead.leader?.id]).toEqual([false, 'odd']);
  expect([lead.count([odd, ...most], profileAheadMsMin), lead.leader?.id]).toEqual([true, 'most']);
  lead.count([odd, ...most], 10 * profileAheadMsMin);
  expect(lead.leader?.id).toBe('most');
});

test('a tie changes nothing, and who falls back has to begin anew', () => {
  const lead = new ProfileLead();
  lead.count([odd], 0);
  for (let nowMs = 0; nowMs < 10 * profileAheadMsMin; nowMs += profileAheadMsMin / 2) {
    const isAhead = (nowMs / profileAheadMsMin) % 1 === 0;
    lead.count([odd, ...most.slice(0, isAhead ? 2 : 1)], nowMs);
    expect(lead.leader?.id).toBe('odd');
  }
});

test('a node has one vote for all its replicas, and none while they are not ready', () => {
  const lead = new ProfileLead();
  const honest = [offer('most', 'a'), offer('most', 'b')];
  lead.count(honest, 0);
  const crowd = Array.from({ length: 64 }, () => odd);
  const loading = Array.from({ length: 9 }, () => offer('odd', undefined));
  for (const nowMs of [0, profileAheadMsMin, 2 * profileAheadMsMin]) {
    expect(lead.count([...crowd, ...loading, ...honest], nowMs)).toBe(false);
  }
});

test('what nobody offers any more leads no more, at once; what is offered by nobody ready stays', () => {
  const lead = new ProfileLead();
  lead.count([odd], 0);
  lead.count([offer('odd', undefined)], 1);
  expect(lead.leader?.id).toBe('odd');
  expect([lead.count(most, 2), lead.leader?.id]).toEqual([true, 'most']);
  expect([lead.count([], 3), lead.leader]).toEqual([true, undefined]);
});
