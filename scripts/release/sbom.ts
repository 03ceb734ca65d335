/**
 * The bill of materials of a bundle, CycloneDX 1.6: every package of npm in it, with the hash by which npm checked it.
 * Says nothing that changes from build to build.
 */
import { edgeBundle } from './bundle.ts';
import type { LockedPackage } from './lockfile.ts';

export interface Contents {
  readonly version: string;
  readonly target: string;
  /** Of the commit. */
  readonly modifiedSeconds: number;
  /** Installed beside our sources. */
  readonly packages: readonly LockedPackage[];
  /** In the edge's bundle. */
  readonly inEdge: readonly LockedPackage[];
  readonly runtime: LockedPackage;
}

const purlOf = ({ name, version }: LockedPackage): string =>
  `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`;

const component = (each: LockedPackage, places: readonly string[]): object => {
  const [algorithm = '', base64 = ''] = each.integrity.split('-', 2);
  if (algorithm !== 'sha512') throw new Error(`${each.name} has an integrity of another kind: ${algorithm}.`);
  const [, group, name] = /^(@[^/]+)\/(.+)$/.exec(each.name) ?? [];
  return {
    type: 'library',
    'bom-ref': purlOf(each),
    ...(group === undefined ? {} : { group }),
    name: name ?? each.name,
    version: each.version,
    hashes: [{ alg: 'SHA-512', content: Buffer.from(base64, 'base64').toString('hex') }],
    ...(each.license === '' ? {} : { licenses: [{ expression: each.license }] }),
    purl: purlOf(each),
    properties: places.map((value) => ({ name: 'cognitora:path', value })),
  };
};

export const sbomOf = (contents: Contents): object => {
  const { version, target, modifiedSeconds, packages, inEdge, runtime } = contents;
  const placed = [
    ...packages.map((each) => ({ each, place: each.path })),
    ...inEdge.map((each) => ({ each, place: edgeBundle })),
    { each: runtime, place: 'runtime/bin/node' },
  ];
  const byPurl = Map.groupBy(placed, ({ each }) => purlOf(each));
  const purlAt = new Map(placed.map(({ each }) => [each.path, purlOf(each)]));
  const purls = [...byPurl.keys()].sort();
  const needsOf = (purl: string): string[] => {
    const needs = (byPurl.get(purl) ?? []).flatMap(({ each }) => each.needs.map((path) => purlAt.get(path)));
    return [...new Set(needs)].filter((found) => found !== undefined).sort();
  };
  const ref = `cognitora@${version}-${target}`;
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: new Date(modifiedSeconds * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': ref,
        name: 'cognitora',
        version,
        licenses: [{ expression: 'Apache-2.0' }],
        properties: [{ name: 'cognitora:target', value: target }],
      },
    },
    components: purls.map((purl) => {
      const there = byPurl.get(purl) ?? [];
      const [first] = there;
      if (first === undefined) throw new Error(`${purl} has no place.`);
      return component(first.each, there.map(({ place }) => place).sort());
    }),
    dependencies: [
      { ref, dependsOn: purls },
      ...purls.map((purl) => ({ ref: purl, dependsOn: needsOf(purl) })),
    ],
  };
};
