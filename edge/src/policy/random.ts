/** The policy `random`: every candidate alike. What any other policy has to beat. */
import type { Policy } from './policy.ts';

export const random: Policy = {
  name: 'random',
  create: () => (scene, costs) => {
    costs.fill(0, 0, scene.candidates.length);
  },
};
