/** For tests: what a link's agent may say; without a clock the burst has to do. Only tests import it. */
import type { Clock } from '../src/clock.ts';
import { KvIntake, newFrameBucket } from '../src/link/kv-intake.ts';

export const newIntake = (clock: Clock = () => 0): KvIntake => new KvIntake(clock, newFrameBucket(clock));
