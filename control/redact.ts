import { isMap, isScalar, isSeq, parseDocument, type Node } from "yaml";

/**
 * A service file without the secrets written in it, everything else as its author wrote it: values under `secrets:` become
 * `null` (to be supplied), and an `api_key` written in clear becomes a `${NAME}`.
 */
export function redactYaml(text: string): string {
  const document = parseDocument(text);
  const cuts: { from: number; to: number; by: string }[] = [];
  const cut = (node: unknown, by: string) => {
    const range = (node as Node | null)?.range;
    if (range != null) cuts.push({ from: range[0], to: range[1], by });
  };
  const secrets = document.get("secrets");
  if (isMap(secrets)) for (const { value } of secrets.items) if (!isScalar(value) || value.value !== null) cut(value, "null");
  const providers = document.getIn(["service", "providers"]);
  if (isSeq(providers)) {
    for (const provider of providers.items) {
      if (!isMap(provider)) continue;
      const key = provider.get("api_key", true);
      const named: unknown = provider.get("name");
      const name = (typeof named === "string" ? named : "provider").toUpperCase().replace(/\W/g, "_");
      if (isScalar(key) && typeof key.value === "string" && !/^\$\{?\w+\}?$/.test(key.value)) cut(key, `\${${name}_API_KEY}`);
    }
  }
  cuts.sort((a, b) => b.from - a.from);
  return cuts.reduce((out, { from, to, by }) => {
    // a block scalar ends with the line break that its successor needs
    const tail = text.slice(from, to).endsWith("\n") ? "\n" : "";
    return out.slice(0, from) + by + tail + out.slice(to);
  }, text);
}
