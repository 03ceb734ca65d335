/** Which faults strike whom and when, from a seed alone. Pure: `phases.ts` carries them out. */

export type FaultKind = 'engine killed' | LinkFault;
export type LinkFault =
  | 'link cut'
  | 'link silent'
  | 'network parted'
  | 'agent paused'
  | 'agent killed'
  /** SIGSTOP, as of a host that is out of memory or a virtual machine that is moved. */
  | 'engine paused'
  | 'edge paused';

export interface Fault {
  readonly kind: FaultKind;
  /** Which host. */
  readonly host: number;
  /** From the end of the fault before it, or the beginning. */
  readonly afterMs: number;
  /** Until it is mended, by whoever would mend it. A cut mends itself. */
  readonly lastsMs: number;
}

export interface FaultRoom {
  readonly hosts: number;
  /** No fault begins later. */
  readonly msMax: number;
  readonly random: () => number;
}

const between = (random: () => number, min: number, max: number): number =>
  Math.round(min + random() * (max - min));

/** So many faults as fit, one at a time. */
const fill = ({ msMax }: FaultRoom, next: (index: number) => Fault): readonly Fault[] => {
  const faults: Fault[] = [];
  let atMs = 0;
  for (;;) {
    const fault = next(faults.length);
    atMs += fault.afterMs;
    if (atMs >= msMax) return faults;
    faults.push(fault);
    atMs += fault.lastsMs;
  }
};

/** One replica every `everyMs`; its service manager starts it again after a second or three. */
export const replicaKills = (room: FaultRoom, everyMs: number): readonly Fault[] => {
  let mendedMs = 0;
  return fill(room, () => {
    const lastsMs = between(room.random, everyMs / 10, (everyMs * 3) / 10);
    const afterMs = everyMs - mendedMs;
    mendedMs = lastsMs;
    const host = Math.floor(room.random() * room.hosts);
    return { kind: 'engine killed', host, afterMs, lastsMs };
  });
};

/** Each kind in turn, in another order in each round; one in four silences and pauses outlasts the lease. */
export const linkCuts = (room: FaultRoom, kinds: readonly LinkFault[], paceMs: number): readonly Fault[] => {
  const { random, hosts } = room;
  let round: LinkFault[] = [];
  return fill(room, () => {
    if (round.length === 0) {
      const shuffled = kinds.map((kind) => ({ kind, at: random() }));
      round = shuffled.sort((left, right) => left.at - right.at).map(({ kind }) => kind);
    }
    const kind = round.pop() ?? 'link cut';
    const isLong = random() < 0.25;
    const silentMs = isLong ? between(random, 2.4 * paceMs, 2.8 * paceMs) : between(random, 200, paceMs);
    const downMs = between(random, 300, paceMs / 3);
    const usualMs: Partial<Record<LinkFault, number>> = {
      'link cut': 0,
      'agent killed': downMs,
      // All that is there waits for it.
      'edge paused': downMs,
    };
    const lastsMs = usualMs[kind] ?? silentMs;
    const afterMs = between(random, paceMs / 2, paceMs);
    return { kind, host: Math.floor(random() * hosts), afterMs, lastsMs };
  });
};
