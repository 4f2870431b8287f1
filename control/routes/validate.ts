import { Hono } from "hono";
import { z } from "zod";
import { yamlCharactersMax } from "../../schema/api.ts";
import { parseService } from "../../schema/service.ts";
import { readBody } from "../body.ts";

const validateSchema = z.strictObject({ yaml: z.string().max(yamlCharactersMax), file: z.string().max(1000).optional(), strict: z.boolean().default(false) });

/** What `fairlead validate` says, for consoles and editors. */
export function validateRoutes(): Hono {
  const routes = new Hono();
  routes.post("/", async (c) => {
    const { yaml, file, strict } = await readBody(c, validateSchema);
    const { service, problems } = parseService(yaml, { file, strict });
    const valid = problems.every(({ level }) => level !== "error");
    return c.json({ valid, ...(service === undefined ? {} : { name: service.name, models: service.models }), problems });
  });
  return routes;
}
