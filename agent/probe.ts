import { request } from "undici";
import { substitute } from "../schema/environment.ts";
import type { Probe } from "../schema/task.ts";
import { formatDuration } from "../schema/units.ts";

/** The probe with its secrets in their places: a bundle carries `$NAME` for them, and only this host can open them. */
export function withSecrets(probe: Probe, secrets: Readonly<Record<string, string>>): Probe {
  const fill = (text: string): string => substitute(text, (name) => secrets[name]);
  return {
    ...probe,
    path: fill(probe.path),
    headers: Object.fromEntries(Object.entries(probe.headers).map(([name, value]) => [name, fill(value)])),
    ...(probe.postBody === undefined ? {} : { postBody: fill(probe.postBody) }),
  };
}

export type Probed = { ok: true } | { ok: false; detail: string };

/** Redirects that a probe follows on the replica itself, as SkyServe's does; one to elsewhere says nothing of the replica. */
const redirectsMax = 3;

/** Asks a replica whether it is ready: only the status 200 says yes. Never throws. */
export async function probe(port: number, { path, timeoutMs, postBody, headers }: Probe): Promise<Probed> {
  const origin = `http://127.0.0.1:${port}`;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    let url = new URL(origin + path);
    for (let redirects = 0; ; redirects++) {
      // not fetch: it refuses ports that a service may well have, such as 6000
      const response = await request(url, {
        method: postBody === undefined ? "GET" : "POST",
        headers: postBody === undefined ? headers : { "content-type": "application/json", ...headers },
        ...(postBody === undefined ? {} : { body: postBody }),
        signal,
      });
      void response.body.dump().catch(() => {});
      const status = response.statusCode;
      if (status === 200) return { ok: true };
      const location = response.headers["location"];
      if (status < 300 || status > 399 || typeof location !== "string" || redirects === redirectsMax) return { ok: false, detail: `${path} answered ${status}` };
      url = new URL(location, url);
      if (url.hostname === "localhost") url.hostname = "127.0.0.1";
      if (url.origin !== origin) return { ok: false, detail: `${path} redirects to another place` };
    }
  } catch (error) {
    return { ok: false, detail: unanswered(error, path, timeoutMs) };
  }
}

/** Why a replica gave no answer, in words. */
export function unanswered(error: unknown, path: string, timeoutMs: number): string {
  if (error instanceof Error && error.name === "TimeoutError") return `${path} did not answer within ${formatDuration(timeoutMs)}`;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ECONNREFUSED") return "nothing listens on its port yet";
  return `${path} could not be asked${typeof code === "string" ? `: ${code}` : ""}`;
}
