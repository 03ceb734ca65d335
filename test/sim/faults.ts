/** What each fault does to the world, and what mends it. One row each; decides nothing. */
import type { FaultKind, FaultPlan } from './plan.ts';
import type { SimAgent } from './sim-agent.ts';
import type { Mood, SimEngine } from './sim-engine.ts';
import type { World } from './world.ts';

interface Struck {
  readonly world: World;
  readonly fault: FaultPlan;
  readonly agent: SimAgent;
  readonly engine: SimEngine;
}

/** Does it, and returns what mends it at its end. */
type Fault = (struck: Struck) => (() => void) | undefined;

const mood =
  (kind: Mood): Fault =>
  ({ engine }) => {
    engine.mood = kind;
    return () => {
      engine.mood = 'well';
    };
  };

export const faults: Readonly<Record<FaultKind, Fault>> = {
  'link cut': ({ agent }) => {
    agent.connection?.cut(['agent', 'object']);
    return undefined;
  },
  'link cut at the agent': ({ agent }) => {
    agent.connection?.cut(['agent']);
    return undefined;
  },
  'link cut at the edge': ({ agent }) => {
    agent.connection?.cut(['object']);
    return undefined;
  },
  'link held': ({ world, agent }) => {
    world.hold(agent);
    return () => world.release(agent);
  },
  'link overtaken': ({ world, agent, fault }) => {
    world.overtakeNextLink(agent, fault.lastsMs);
    agent.connection?.cut(['agent', 'object']);
    return undefined;
  },
  'agent crash': ({ agent }) => {
    agent.crash();
    return () => agent.start();
  },
  'agent drain': ({ world, agent, fault }) => {
    agent.drain(fault.lastsMs / 2, () => world.schedule.after(500, () => agent.start()));
    return undefined;
  },
  'agent held up': ({ agent, fault }) => {
    agent.process?.holdUp(fault.lastsMs);
    return undefined;
  },
  'engine crash': ({ engine, world }) => {
    engine.crash();
    return () => engine.restart(world.chance.between(100, 3_000));
  },
  'engine refuses': mood('refuses'),
  'engine breaks off': mood('breaks off'),
  'engine hangs': mood('hangs'),
  'engine slow': mood('slow'),
  'region crash': ({ world }) => {
    world.region.crash();
    return undefined;
  },
  'region evicted': ({ world }) => {
    world.region.evict();
    return undefined;
  },
  'region held up': ({ world, fault }) => {
    world.holdUpRegion(Math.min(fault.lastsMs, 4_000));
    return undefined;
  },
  'node object crash': ({ world, agent }) => {
    world.nodeObject(agent)?.crash();
    return undefined;
  },
  'node object evicted': ({ world, agent }) => {
    world.nodeObject(agent)?.evict();
    return undefined;
  },
  'registry crash': ({ world }) => {
    world.registry.crash();
    return undefined;
  },
  'worker crash': ({ world }) => {
    world.platform.crashWorker();
    return undefined;
  },
  'edge crash': ({ world, fault }) => {
    world.edgeDown(Math.min(fault.lastsMs, 8_000));
    return undefined;
  },
  cordon: ({ world, agent }) => {
    world.cordon(agent, true);
    return () => world.cordon(agent, false);
  },
  'clock jump at the edge': ({ world, fault }) => {
    world.skewEdge(fault.jumpMs);
    return () => {
      world.skewEdge(0);
    };
  },
  'clock jump at the agent': ({ world, agent, fault }) => {
    world.skewAgent(agent, fault.jumpMs);
    return () => world.skewAgent(agent, 0);
  },
  'slow disk': ({ world, fault }) => {
    world.diskMs = Math.min(fault.lastsMs / 10, 500);
    return () => {
      world.diskMs = 0;
    };
  },
  'calls repeated': ({ world }) => {
    world.areCallsRepeated = true;
    return () => {
      world.areCallsRepeated = false;
    };
  },
};
