import { isMap, isScalar, isSeq, parseDocument, type Node } from "yaml";
import { isCredentialHeader } from "../schema/vendorHeaders.ts";

/** Whether a value is text with something in it beside names to be filled in, and perhaps a scheme. */
function isInClear(node: unknown): boolean {
  return isScalar(node) && typeof node.value === "string" && !/^([A-Za-z]+ +)?\$(\w+|\{\w+\})$/.test(node.value);
}

/**
 * A service file without the secrets written in it, everything else as its author wrote it: values under `secrets:` become
 * `null` (to be supplied), and an `api_key` or a header with a credential, written in clear, becomes a `${NAME}`.
 */
export function redactYaml(text: string): string {
  // it was read before: that no key is there twice is known
  const document = parseDocument(text, { uniqueKeys: false });
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
      if (isInClear(key)) cut(key, `\${${name}_API_KEY}`);
      const headers = provider.get("headers");
      if (!isMap(headers)) continue;
      for (const { key: header, value } of headers.items) {
        const called = isScalar(header) ? String(header.value) : "";
        if (isCredentialHeader(called) && isInClear(value)) cut(value, `\${${name}_${called.toUpperCase().replace(/\W/g, "_")}}`);
      }
    }
  }
  cuts.sort((a, b) => b.from - a.from);
  return cuts.reduce((out, { from, to, by }) => {
    // a block scalar ends with the line break that its successor needs
    const tail = text.slice(from, to).endsWith("\n") ? "\n" : "";
    return out.slice(0, from) + by + tail + out.slice(to);
  }, text);
}
