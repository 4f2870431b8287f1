import { Hono } from "hono";
import { putServiceSchema, serviceNameSchema } from "../../schema/api.ts";
import { FairleadError } from "../../schema/errors.ts";
import type { RolloutPolicy } from "../../schema/policy.ts";
import { formatProblem } from "../../schema/problem.ts";
import { parseService, type ServiceSecrets } from "../../schema/service.ts";
import type { ServiceSpec } from "../../schema/serviceSpec.ts";
import type { PreviousVersion, ServiceRow } from "../../schema/tables.ts";
import { check, readBody } from "../body.ts";
import { change } from "../change.ts";
import type { Context } from "../context.ts";
import { previousOf } from "../previous.ts";
import { deleteService, findService, lastVersion, listServices, modelOwner, saveService } from "../queries/services.ts";
import { redactYaml } from "../redact.ts";
import { same } from "../same.ts";
import { lockSecrets, taskDigest, unlockSecrets } from "../secrets.ts";
import { readSigned, unsignedParts, type Signed } from "../signing.ts";
import { askEdge } from "./status.ts";

export function serviceRoutes(context: Context): Hono {
  const routes = new Hono();
  const { db, edge, clock, vault } = context;

  routes.put("/:name", async (c) => {
    const name = check(c.req.param("name"), serviceNameSchema, `Cannot use the name "${c.req.param("name")}"`);
    const { yaml, envs, secrets: given, environment, signed: offered, mode } = await readBody(c, putServiceSchema);
    const { service: read, secrets, problems } = parseService(yaml, { name, envs, secrets: given, environment, purpose: "up" });
    if (read === undefined || secrets === undefined) {
      const errors = problems.filter(({ level }) => level === "error");
      throw new FairleadError("invalid_request", `Cannot use the file of service "${name}":\n${errors.map((problem) => formatProblem(problem, name)).join("\n")}`, { param: errors[0]?.field || null });
    }
    await refuseEndpoints(name, read);
    const signing = offered === undefined ? undefined : await checkOffered(read, secrets, offered);
    const known = await findService(db.rows, name);
    const asked = known?.spec.task === undefined ? undefined : await askEdge(edge);
    const regions = asked?.reachable === true ? asked.regions : [];
    const { result, published, refused, reason } = await change(
      context,
      async (rows) => {
        const owner = await modelOwner(rows, name, read.models);
        if (owner !== undefined) throw new FairleadError("conflict", `Cannot publish model "${owner.model}": service "${owner.service}" has it`, { param: "service.model" });
        const before = await findService(rows, name);
        const old = before === undefined ? undefined : await unlockSecrets(vault, name, before.secrets).catch(() => undefined);
        const signed = before?.signed == null ? undefined : readSigned(name, before.signed);
        const { salt: oldSalt, ...oldSecrets } = old ?? {};
        const isAs = (other: ServiceSpec): boolean => before !== undefined && same([before.spec, old === undefined ? undefined : oldSecrets], [other, secrets]);
        // the file once more does not take back what was said of it besides
        const said = mode ?? (before?.mode != null && isAs(withMode(read, before.mode)) ? before.mode : undefined);
        const spec = withMode(read, said);
        const changed = before === undefined || !isAs(spec) || (signing !== undefined && signing.keyId !== signed?.keyId);
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
        const replaces = before !== undefined && !(await sameTask(before.spec, old, spec, secrets));
        const previous = before === undefined ? null : await differing(changed ? previousOf(before, regions) : before.previous, name, spec, secrets);
        await saveService(rows, {
          name,
          version,
          yaml: redactYaml(yaml),
          spec,
          secrets: await lockSecrets(vault, name, salt === undefined ? secrets : { ...secrets, salt }),
          signed: stays ? (before?.signed ?? null) : (offered?.jws ?? null),
          previous,
          mode: said ?? null,
          createdAt: before?.createdAt ?? now,
          updatedAt: changed ? now : before.updatedAt,
        });
        return { name, version, created: before === undefined, changed, replaces, desired: spec.replicas.min, ...(spec.rollout === undefined ? {} : { mode: spec.rollout.mode }) };
      },
      ({ changed }) => changed,
    );
    const warnings = problems.map(({ line, field, message }) => ({ line, field, message }));
    return c.json({ ...result, warnings, published, ...(refused === undefined ? {} : { refused }), ...(reason === undefined ? {} : { reason }) }, result.created ? 201 : 200);
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

  /** A version that runs something else than the new one: to others there is nothing to go back to. */
  async function differing(previous: PreviousVersion | null, name: string, { task }: ServiceSpec, { replica }: ServiceSecrets): Promise<PreviousVersion | null> {
    if (previous === null || task === undefined) return null;
    const secrets = await unlockSecrets(vault, name, previous.secrets).catch(() => undefined);
    return secrets === undefined || (await taskDigest(vault, previous.task, secrets.replica)) === (await taskDigest(vault, task, replica)) ? null : previous;
  }

  async function sameTask(old: ServiceSpec, oldSecrets: ServiceSecrets | undefined, spec: ServiceSpec, secrets: ServiceSecrets): Promise<boolean> {
    if (old.task === undefined || spec.task === undefined) return old.task === spec.task;
    return oldSecrets !== undefined && (await taskDigest(vault, old.task, oldSecrets.replica)) === (await taskDigest(vault, spec.task, secrets.replica));
  }
}

function withMode(spec: ServiceSpec, mode: RolloutPolicy["mode"] | undefined): ServiceSpec {
  return mode === undefined || spec.rollout === undefined ? spec : { ...spec, rollout: { ...spec.rollout, mode } };
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
