/** Where clients put a key of ours, the likeliest first. */
const places: ReadonlySet<string> = new Set(["authorization", "x-api-key", "api-key"]);
const bearer = "bearer ";
const prefix = "fl_";

/** The key of ours in the value of one of these headers; a service behind the edge may have uses of its own for them. */
function keyIn(place: string, value: string): string | undefined {
  const key = place !== "authorization" ? value : value.slice(0, bearer.length).toLowerCase() === bearer ? value.slice(bearer.length).trim() : "";
  return key.startsWith(prefix) ? key : undefined;
}

/** The key a request shows, in any of the three places where clients put it. */
export function shownKey(headers: Headers): string | undefined {
  for (const place of places) {
    const value = headers.get(place);
    const key = value === null ? undefined : keyIn(place, value);
    if (key !== undefined) return key;
  }
  return undefined;
}

/** Whether a header holds a key of ours, the one that the request was let in by or another: nobody behind the edge may see it. */
export function holdsKey(name: string, value: string): boolean {
  return places.has(name) && keyIn(name, value) !== undefined;
}
