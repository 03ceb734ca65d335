/** What people and dashboards see of a model's routing: its policies, cells and how full their maps are. Views only. */
import type { Replica } from './node-entry.ts';
import type { Policies, ServedModel } from './served-model.ts';

export interface CellView {
  /** Which it keeps while it lives. */
  readonly cell: number;
  readonly replicas: number;
  readonly meanLive: number;
  /** Of the prefix map; zero while no replica's cache is known. */
  readonly mapBytes: number;
  readonly mapEntries: number;
  readonly mapEntriesMax: number;
  readonly mapEvictions: number;
}

export interface ModelView {
  readonly model: string;
  readonly policy: string;
  /** Decisions that the shadow policy looked at, and would have made otherwise. */
  readonly shadow:
    | { readonly policy: string; readonly decisions: number; readonly differences: number }
    | undefined;
  /** When somebody last asked for it; undefined while nobody did. */
  readonly askedAtMs: number | undefined;
  /** The prompt profile by which its prompts are digested. */
  readonly profile: string | undefined;
  readonly cells: readonly CellView[];
}

/** Those that are served, then those that nobody serves but whose policy is set: they have no cells. */
export const viewModels = (
  models: ReadonlyMap<string, ServedModel<Replica>>,
  pinned: ReadonlyMap<string, Policies>,
): readonly ModelView[] => [
  ...viewServed(models),
  ...[...pinned].flatMap(([model, { policy, shadow }]) => {
    if (models.has(model)) return [];
    return {
      ...{ model, policy: policy.name, askedAtMs: undefined, profile: undefined, cells: [] },
      shadow: shadow && { policy: shadow.name, decisions: 0, differences: 0 },
    };
  }),
];

const viewServed = (models: ReadonlyMap<string, ServedModel<Replica>>): readonly ModelView[] =>
  [...models].map(([model, served]) => {
    const { policy, shadow } = served.policies;
    return {
      model,
      policy: policy.name,
      shadow: shadow && { policy: shadow.name, ...served.shadowCounts },
      askedAtMs: served.askedAtMs,
      profile: served.profile?.id,
      cells: [...served.cells].map(([cell, { size, meanLive, counts }]) => ({
        cell,
        replicas: size,
        meanLive,
        mapBytes: counts?.bytes ?? 0,
        mapEntries: counts?.entries ?? 0,
        mapEntriesMax: counts?.entriesMax ?? 0,
        mapEvictions: counts?.evictions ?? 0,
      })),
    };
  });
