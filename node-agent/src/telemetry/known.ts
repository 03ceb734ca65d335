/** What is not known is left out of what is told, never told as zero. */

/** Without the fields that are undefined. */
export const known = <Figures extends object>(
  figures: Figures,
): { [Name in keyof Figures]?: NonNullable<Figures[Name]> } =>
  Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined)) as {
    [Name in keyof Figures]?: NonNullable<Figures[Name]>;
  };
