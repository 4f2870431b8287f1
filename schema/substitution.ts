import { mapTexts, own, substitute, type Environment } from "./environment.ts";
import { fieldName, type Path, type Report } from "./problem.ts";

export interface Substituted {
  service: unknown;
  /** Values that the readiness probe takes from the caller's environment, by name. */
  probeSecrets: Record<string, string>;
  /** Headers of providers that name something, as fields of `service:`. */
  filledHeaders: string[];
}

export interface Scope {
  resolved: Environment;
  environment: Readonly<Record<string, string | undefined>>;
  purpose: "validate" | "up";
  report: Report;
}

/**
 * Replace `$NAME` in a parsed `service:` section: on the tree, so that a value with a quote in it breaks nothing.
 *
 * A secret may only reach places that keep it: a provider's `api_key` and `headers`, which are stored encrypted, and the readiness
 * probe, where the name stays and the replica's agent, which holds the secrets, puts the value in. A value from the environment of
 * whoever runs `fairlead up` may be a credential, and is treated as one there (`probeSecrets`).
 */
export function substituteService(service: unknown, { resolved, environment, purpose, report }: Scope): Substituted {
  const probeSecrets: Record<string, string> = {};
  const filledHeaders: string[] = [];
  const reported = new Set(resolved.missing.map(({ name }) => name));
  const out = mapTexts(service, (text, path) =>
    substitute(text, (name) => {
      const place = placeOf(path);
      const env = own(resolved.envs, name);
      const secret = own(resolved.secrets, name);
      const ambient = own(environment, name);
      if (place === "header") filledHeaders.push(fieldName(path));
      if (place === "api_key" || place === "header") {
        const value = secret ?? env ?? ambient;
        if (value === undefined) unknown(name, path, purpose === "up" ? "error" : "warning");
        return value;
      }
      if (env !== undefined) return env;
      if (place === "probe") {
        if (secret === undefined && ambient !== undefined) probeSecrets[name] = ambient;
        if (secret === undefined && ambient === undefined) unknown(name, path, "warning");
        return undefined;
      }
      if (secret !== undefined) {
        report(place === "endpoint" ? "error" : "warning", ["service", ...path], `cannot use the secret ${name}: this field is published in clear; declare it under envs:`);
        return undefined;
      }
      if (ambient === undefined) unknown(name, path, place === "endpoint" && purpose === "up" ? "error" : "warning");
      return ambient;
    }),
  );
  return { service: out, probeSecrets, filledHeaders };

  function unknown(name: string, path: Path, level: "error" | "warning"): void {
    if (reported.has(name)) return;
    const how = level === "error" || purpose === "validate" ? `: give it by --env ${name}=… or --secret ${name}=…, or in the environment of fairlead up` : "; it is left as it stands";
    report(level, ["service", ...path], `refers to ${name}, which has no value${how}`);
  }
}

function placeOf(path: Path): "api_key" | "header" | "endpoint" | "probe" | "other" {
  if (path[0] === "readiness_probe") return "probe";
  if (path[0] !== "providers") return "other";
  return path[2] === "api_key" ? "api_key" : path[2] === "headers" ? "header" : path[2] === "endpoint" ? "endpoint" : "other";
}
