/** Counters by name: all there from the start, so that a metric exists before its first event. */
export type Counts<Name extends string> = Record<Name, number>;

export function counts<Name extends string>(...names: readonly Name[]): Counts<Name> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Counts<Name>;
}
