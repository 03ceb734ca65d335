/** Durations as people type them: a number with s, m, h or d. */
import { UserError } from './terminal.ts';

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `30d` as seconds; `option` is where it stands, for who typed something else. */
export const parseDuration = (text: string, option: string): number => {
  const [, amount, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined) {
    throw new UserError(`${option} must be like 90s, 30m, 24h or 7d, not "${text}".`, 2);
  }
  return Number(amount) * (unitSeconds[unit] ?? 1);
};
