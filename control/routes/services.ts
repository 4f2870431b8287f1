import { Hono } from "hono";
import { putServiceSchema, serviceNameSchema } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import { formatProblem } from "../../schema/problem.ts";
import { parseService, type ServiceSecrets } from "../../schema/service.ts";
import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import type { ServiceRow } from "../../schema/tables.ts";
import { check, readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { deleteService, findService, lastVersion, listServices, modelOwner, saveService } from "../queries/services.ts";
import { redactYaml } from "../redact.ts";
import { same } from "../same.ts";
import { lockSecrets, taskDigest, unlockSecrets } from "../secrets.ts";
import { readSigned, unsignedParts, type Signed } from "../signing.ts";

export function serviceRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, edge, clock, vault } = context;

  routes.put("/:name", async (c) => {
    const name = check(c.req.param("name"), serviceNameSchema, `Cannot use the name "${c.req.param("name")}"`);
    const { yaml, envs, secrets: given, environment, signed: offered } = await readBody(c, putServiceSchema);
    const { service: spec, secrets, problems } = parseService(yaml, { name, envs, secrets: given, environment, purpose: "up" });
    if (spec === undefined || secrets === undefined) {
      const errors = problems.filter(({ level }) => level === "error");
      throw new FairleadError("invalid_request", `Cannot use the file of service "${name}":\n${errors.map((problem) => formatProblem(problem, name)).join("\n")}`, { param: errors[0]?.field || null });
    }
    await refuseEndpoints(name, spec);
    const signing = offered === undefined ? undefined : await checkOffered(spec, secrets, offered);
    const { result, published, refused, reason } = await change(
      context,
      async (rows) => {
        const owner = await modelOwner(rows, name, spec.models);
        if (owner !== undefined) throw new FairleadError("conflict", `Cannot publish model "${owner.model}": service "${owner.service}" has it`, { param: "service.model" });
        const before = await findService(rows, name);
        const old = before === undefined ? undefined : await unlockSecrets(vault, name, before.secrets).catch(() => undefined);
        const signed = before?.signed == null ? undefined : readSigned(name, before.signed);
        const { salt: oldSalt, ...oldSecrets } = old ?? {};
        const changed = before === undefined || !same([before.spec, old === undefined ? undefined : oldSecrets], [spec, secrets]) || (signing !== undefined && signing.keyId !== signed?.keyId);
        const last = await lastVersion(rows, name);
        if (changed && signing !== undefined && signing.spec.version <= last) {
          throw new FairleadError("conflict", `Cannot use what was signed of service "${name}": it is version ${signing.spec.version}, and version ${last} is there already; sign it again`, { param: "signed" });
        }
        const version = !changed ? before.version : (signing?.spec.version ?? last + 1);
        // what an operator signed stays signed while it says the same; nothing unsigned takes its place by itself
        const stays = signed !== undefined && (!changed || signing === undefined);
        if (stays) await refuseUnsigned(signed, spec, secrets, oldSalt);
        const salt = stays ? oldSalt : offered?.salt;
        const now = clock.now();
        await saveService(rows, {
          name,
          version,
          yaml: redactYaml(yaml),
          spec,
          secrets: await lockSecrets(vault, name, salt === undefined ? secrets : { ...secrets, salt }),
          signed: stays ? (before?.signed ?? null) : (offered?.jws ?? null),
          createdAt: before?.createdAt ?? now,
          updatedAt: changed ? now : before.updatedAt,
        });
        return { name, version, created: before === undefined, changed, replaces: before !== undefined && !(await sameTask(before.spec, old, spec, secrets)) };
      },
      ({ changed }) => changed,
    );
    const warnings = problems.map(({ line, field, message }) => ({ line, field, message }));
    return c.json({ ...result, desired: spec.replicas.min, warnings, published, ...(refused === undefined ? {} : { refused }), ...(reason === undefined ? {} : { reason }) }, result.created ? 201 : 200);
  });

  routes.get("/", async (c) => c.json({ services: (await listServices(db.rows)).map(describe) }));

  /** What a signer must know: the version that comes next, and whether the one that is there is signed. */
  routes.get("/:name/signing", async (c) => {
    const name = check(c.req.param("name"), serviceNameSchema, `Cannot use the name "${c.req.param("name")}"`);
    const row = await findService(db.rows, name);
    return c.json({ next: (await lastVersion(db.rows, name)) + 1, signed: row?.signed != null } satisfies Signing);
  });

  routes.get("/:name", async (c) => {
    const row = await findService(db.rows, c.req.param("name"));
    if (row === undefined) throw unknownService("show", c.req.param("name"));
    return c.json({ ...describe(row), yaml: row.yaml });
  });

  routes.delete("/:name", async (c) => {
    const name = c.req.param("name");
    const { published, reason } = await change(context, async (rows) => {
      if (!(await deleteService(rows, name, clock.now()))) throw unknownService("take down", name);
    });
    return c.json({ name, deleted: true, published, ...(reason === undefined ? {} : { reason }) });
  });

  return routes;

  /** A service with an endpoint that the edge does not call is not stored: one bad bundle would hold up every later change. An edge that cannot be asked says so when it is published. */
  async function refuseEndpoints(name: string, { providers }: ServiceSpec): Promise<void> {
    if (providers.length === 0) return;
    const reasons = await edge.refusals(providers.map(({ endpoint }) => endpoint)).catch(() => []);
    const lines = providers.flatMap((provider, i) => (reasons[i] == null ? [] : [`provider "${provider.name}" has an endpoint that the edge does not call: ${reasons[i]}`]));
    if (lines.length > 0) throw new FairleadError("invalid_request", `Cannot use the file of service "${name}": ${lines.join("; ")}`, { param: "service.providers" });
  }

  async function checkOffered(spec: ServiceSpec, secrets: ServiceSecrets, { jws, salt }: { jws: string; salt?: string | undefined }): Promise<Signed> {
    const signed = readSigned(spec.name, jws);
    const parts = await unsignedParts(signed, spec, secrets, salt);
    if (parts.length === 0) return signed;
    throw new FairleadError("invalid_request", `Cannot use what was signed of service "${spec.name}": the file says something else of ${parts.join(", ")}`, { param: "signed" });
  }

  async function refuseUnsigned(signed: Signed, spec: ServiceSpec, secrets: ServiceSecrets, salt: string | undefined): Promise<void> {
    const parts = await unsignedParts(signed, spec, secrets, salt);
    if (parts.length > 0) throw new FairleadError("conflict", `Cannot update service "${spec.name}": its operator signed it, and this changes ${parts.join(", ")}; sign it with --sign-key`, { param: "signed" });
  }

  async function sameTask(old: ServiceSpec, oldSecrets: ServiceSecrets | undefined, spec: ServiceSpec, secrets: ServiceSecrets): Promise<boolean> {
    if (old.task === undefined || spec.task === undefined) return old.task === spec.task;
    return oldSecrets !== undefined && (await taskDigest(vault, old.task, oldSecrets.replica)) === (await taskDigest(vault, spec.task, secrets.replica));
  }
}

export interface Signing {
  next: number;
  signed: boolean;
}

/** A service as people see it: its spec holds no secret. */
function describe({ name, version, spec, createdAt, updatedAt }: ServiceRow) {
  return { name, version, models: spec.models, desired: spec.replicas.min, spec, createdAt, updatedAt };
}

export function unknownService(action: string, name: string): FairleadError {
  return new FairleadError("service_not_found", `Cannot ${action} service "${name}": there is no such service`, { param: "name" });
}
