/** As many characters of a caller's name as an answer repeats: as many as a model's name may have (`schema/serviceYaml.ts`). */
const shownMax = 200;

/** A name as an answer says it: all of it, or its beginning where no model or service is called so. */
export function shownName(name: string): string {
  return name.length > shownMax ? `${name.slice(0, shownMax)}…` : name;
}

/** A name in a path; where its percent signs encode nothing, as it stands. */
export function nameIn(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
