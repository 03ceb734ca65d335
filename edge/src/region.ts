/**
 * In which regions a request may be served, in order. Pure. Today: the client's continent first, as the platform
 * reports it, then the order of the configuration; where there is no platform, that order alone.
 */
import type { Region } from '@cognitora/protocol/ids';

/** Cloudflare continent codes, and the prefixes of the location hints that lie there. */
const hintsOfContinent: Readonly<Record<string, readonly string[]>> = {
  EU: ['weur', 'eeur'],
  NA: ['enam', 'wnam'],
  SA: ['sam'],
  AS: ['apac', 'me'],
  OC: ['oc'],
  AF: ['afr', 'me'],
};

/** `regions` reordered, none left out. */
export const orderRegions = (
  regions: readonly Region[],
  continent: string | undefined,
): readonly Region[] => {
  const near = hintsOfContinent[continent ?? ''] ?? [];
  const isNear = (region: Region): boolean => near.some((hint) => region.startsWith(hint));
  return [...regions.filter(isNear), ...regions.filter((region) => !isNear(region))];
};
