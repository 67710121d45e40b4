/** What is different between two states, leaf by leaf; pure. */

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface Change {
  readonly path: string;
  /** Undefined: it was not there. */
  readonly before: Json | undefined;
  /** Undefined: it is not there any more. */
  readonly after: Json | undefined;
}

/** More changes than these are not listed. */
export const CHANGES_MAX = 100;

/** Changes from one state to another, in the order of the later one. */
export function changes(
  before: Json | undefined,
  after: Json | undefined,
  max = CHANGES_MAX,
): readonly Change[] {
  const found: Change[] = [];
  compare("", before, after, found, max);
  return found;
}

function compare(
  path: string,
  before: Json | undefined,
  after: Json | undefined,
  found: Change[],
  max: number,
): void {
  if (found.length >= max || before === after) return;
  const [was, is] = [partsOf(before), partsOf(after)];
  if (was === null || is === null || Array.isArray(before) !== Array.isArray(after)) {
    if (was === null || is === null || was.size + is.size > 0)
      found.push({ path, before, after });
    return;
  }
  for (const [name, value] of is) compare(joined(path, name), was.get(name), value, found, max);
  for (const [name, value] of was) {
    if (!is.has(name)) compare(joined(path, name), value, undefined, found, max);
  }
}

/** Children by name; those of a list by their id, where each has one. */
function partsOf(value: Json | undefined): ReadonlyMap<string, Json> | null {
  if (value === undefined || value === null || typeof value !== "object") return null;
  if (!isList(value)) return new Map(Object.entries(value));
  return new Map(value.map((item, index) => [nameOf(item) ?? index.toString(), item]));
}

function nameOf(item: Json): string | null {
  if (item === null || typeof item !== "object" || isList(item)) return null;
  const id = item["id"];
  return typeof id === "string" ? id : null;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

const joined = (path: string, name: string): string =>
  path === "" ? name : `${path} › ${name}`;
