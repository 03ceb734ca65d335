/** What people and dashboards see of a region's admission. Views only. */
import type { HistogramFigures } from '@cognitora/protocol/metrics-page';
import type { RefusalReason } from './counts.ts';
import type { ModelLimits, TenantLimits } from './limits.ts';

type Refused = Readonly<Partial<Record<RefusalReason, number>>>;

export interface ModelAdmissionView {
  readonly model: string;
  readonly waiting: number;
  readonly live: number;
  readonly granted: number;
  readonly refused: Refused;
  /** Of all that were let in, those that did not wait included. */
  readonly waits: HistogramFigures;
  /** Between two grants, of late; undefined while nobody waited. */
  readonly paceMs: number | undefined;
  /** From a seat to the first token, of nearly all. */
  readonly firstTokenMs: number;
}

export interface TenantAdmissionView {
  readonly tenant: string;
  readonly waiting: number;
  readonly live: number;
  readonly granted: number;
  readonly refused: Refused;
}

export interface AdmissionView {
  readonly models: readonly ModelAdmissionView[];
  readonly tenants: readonly TenantAdmissionView[];
}

/** Limits that an operator set. */
export interface LimitsView {
  readonly models: readonly (ModelLimits & { readonly model: string })[];
  readonly tenants: readonly (TenantLimits & { readonly tenant: string })[];
}

export interface RegionAdmission extends AdmissionView {
  readonly limits: LimitsView;
  /** Attempts beyond the first that may be made now, and those that were not made. */
  readonly retries: { readonly left: number; readonly refused: number };
}
