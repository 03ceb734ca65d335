/** Lookups in a fresh process of their own. */
import { serveCommands } from '../machine/worker-process.ts';
import { type RamPlan, ramLookups, type SsdPlan, type SsdReads, ssdReads } from './lookups.ts';

export type LookupCommand = ({ readonly do: 'ram' } & RamPlan) | ({ readonly do: 'ssd' } & SsdPlan);
export type LookupAnswer = { readonly us: readonly number[] } | SsdReads;

serveCommands<LookupCommand, LookupAnswer>(async (command) =>
  command.do === 'ram' ? { us: await ramLookups(command) } : ssdReads(command),
);
