import { fieldName } from "./problem.ts";
import { isExternal } from "./serviceYaml.ts";
import type { ProviderYaml } from "./serviceYaml.ts";

/** Headers that carry credentials: `Authorization`, `x-api-key`, `x-auth-token`, `cookie`, … */
const credential = /(^|-)(authorization|cookie|secret|token|password|signature|(api-?)?key)$/i;

export const isCredentialHeader = (name: string): boolean => credential.test(name);

/** By provider name. */
type Headers = Record<string, Record<string, string>>;

/**
 * Providers' headers apart: those that may be read by anyone who may read a service, and those that are kept as API keys are: all that
 * name something (it may be a secret), and all that carry credentials.
 *
 * @param filled fields of `service:` whose text named something
 */
export function splitHeaders(providers: readonly ProviderYaml[], filled: readonly string[]): { open: Headers; secret: Headers } {
  const out: { open: Headers; secret: Headers } = { open: {}, secret: {} };
  providers.forEach((provider, i) => {
    if (!isExternal(provider)) return;
    for (const [name, value] of Object.entries(provider.headers ?? {})) {
      const kept = isCredentialHeader(name) || filled.includes(fieldName(["providers", i, "headers", name]));
      (out[kept ? "secret" : "open"][provider.name] ??= {})[name] = value;
    }
  });
  return out;
}
