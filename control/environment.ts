import { z } from "zod";
import { keyId } from "../schema/key.ts";
import { parseRegions } from "../schema/region.ts";

const url = z.url({ protocol: /^https?$/, error: "must be a URL that begins with http:// or https://" }).transform((text) => text.replace(/\/+$/, ""));
const secret = z.string("is missing").min(16, "is too short to be a secret: 16 characters at least");
const missing = (example: string) => `is missing; for example ${example}`;

const environmentSchema = z
  .object({
    /** 0: any free one. */
    FAIRLEAD_CONTROL_PORT: z.string().regex(/^\d{1,5}$/, "must be a port number").transform(Number).pipe(z.number().max(65535, "must be a port number")).default(8788),
    FAIRLEAD_CONTROL_HOST: z.string().default("127.0.0.1"),
    FAIRLEAD_DATABASE_URL: z.string(missing("file:.fairlead/control.db")).regex(/^(file|libsql|https?|wss?):/, "must begin with file:, libsql: or https:"),
    FAIRLEAD_DATABASE_TOKEN: z.string().optional(),
    /** The router: where control publishes. */
    FAIRLEAD_EDGE_URL: url.default("http://127.0.0.1:8787"),
    /** Where clients reach the router, when that is another address. */
    FAIRLEAD_PUBLIC_URL: url.optional(),
    /** Where agents dial. */
    FAIRLEAD_FLEET_URL: z.string(missing("http://127.0.0.1:8789")).pipe(url),
    FAIRLEAD_REGIONS: z.string(missing("local")).transform((text, context) => {
      try {
        return parseRegions(text);
      } catch (error) {
        context.addIssue({ code: "custom", message: (error as Error).message });
        return z.NEVER;
      }
    }),
    FAIRLEAD_KEY_PEPPER: secret,
    FAIRLEAD_CONTROL_TOKEN: secret,
    FAIRLEAD_SHARED_KEY: secret,
    FAIRLEAD_ADMIN_KEY: z.string().refine((key) => keyId(key, "fla") !== undefined, "is not an admin key; make one with fairlead keys admin").optional(),
  })
  .transform((environment) => ({ ...environment, FAIRLEAD_PUBLIC_URL: environment.FAIRLEAD_PUBLIC_URL ?? environment.FAIRLEAD_EDGE_URL }));

export type Environment = z.infer<typeof environmentSchema>;

/** Control's settings. A variable that is set to nothing counts as unset. @throws Error that names every variable at fault, and no value */
export function readEnvironment(variables: Readonly<Record<string, string | undefined>>): Environment {
  const set = Object.fromEntries(Object.entries(variables).filter(([name, value]) => name.startsWith("FAIRLEAD_") && value !== undefined && value !== ""));
  const parsed = environmentSchema.safeParse(set);
  if (parsed.success) return parsed.data;
  throw new Error(`Cannot start control: ${parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`).join("; ")}`);
}
