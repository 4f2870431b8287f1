import { z } from "zod";
import { namePattern } from "../schema/environment.ts";
import type { Task } from "../schema/task.ts";

const envName = z.string().regex(namePattern, "is not a name of an environment variable");

const parameterSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("string"), pattern: z.string().refine(isPattern, "is not a regular expression"), max: z.number().int().min(1).max(4096).default(256), default: z.string().optional() }),
  z.strictObject({ type: z.literal("integer"), min: z.number().int(), max: z.number().int(), default: z.number().int().optional() }),
  z.strictObject({ type: z.literal("enum"), values: z.array(z.union([z.string(), z.number()])).min(1), default: z.union([z.string(), z.number()]).optional() }),
]);
type Parameter = z.infer<typeof parameterSchema>;

const templateSchema = z
  .strictObject({
    /** The program and its arguments. `{name}` in a word stands for a parameter, `{port}` for the port that the agent chose. */
    argv: z.array(z.string().refine((word) => !word.includes("\0"), "holds a NUL")).min(1),
    parameters: z.record(z.string().regex(/^[a-z][a-z0-9_]*$/, "is not a name of a parameter"), parameterSchema).default({}),
    /** Set for every replica. */
    env: z.record(envName, z.string()).default({}),
    /** What a service may set, by `envs` and by `secrets`. */
    allow_env: z.array(envName).default([]),
    /** Digests of container images that a service may name, as `sha256:…`. */
    images: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/, "is not a digest, sha256: and 64 hexadecimal digits")).default([]),
    /** GPUs of one replica, at most. */
    gpus: z.number().int().min(0).default(0),
    workdir: z.string().startsWith("/", "must be a whole path").optional(),
    /** The port that the program insists on. */
    port: z.number().int().min(1).max(65535).optional(),
    /** What the gate lets through: `openai` only inference paths, `any` all. */
    gate: z.enum(["openai", "any"]).default("openai"),
  })
  .superRefine(({ argv, parameters }, context) => {
    const used = new Set(argv.flatMap((word) => [...word.matchAll(placeholder)].map((match) => match[1] ?? "")));
    for (const name of used) if (name !== "port" && !Object.hasOwn(parameters, name)) context.addIssue({ code: "custom", path: ["argv"], message: `refers to {${name}}, which is no parameter` });
    for (const name of Object.keys(parameters)) if (!used.has(name)) context.addIssue({ code: "custom", path: ["parameters", name], message: "is used nowhere in argv" });
    for (const [name, parameter] of Object.entries(parameters)) {
      const problem = parameter.default === undefined ? undefined : misfit(parameter, parameter.default);
      if (problem !== undefined) context.addIssue({ code: "custom", path: ["parameters", name, "default"], message: problem });
    }
  });

export const templatesSchema = z.strictObject({ templates: z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "is not a name of a template"), templateSchema) });
export type Template = z.infer<typeof templateSchema>;
export type Templates = z.infer<typeof templatesSchema>["templates"];

const placeholder = /\{([a-z][a-z0-9_]*)\}/g;

function isPattern(text: string): boolean {
  try {
    return wholly(text) !== undefined;
  } catch {
    return false;
  }
}

function wholly(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, "u");
}

/** What is wrong with a value; undefined when it is one that the parameter takes. The value is not repeated: it is a stranger's. */
function misfit(parameter: Parameter, value: string | number | boolean): string | undefined {
  switch (parameter.type) {
    case "string":
      if (typeof value !== "string") return "must be text";
      if (value.length > parameter.max) return `must be at most ${parameter.max} characters`;
      // a control character is never meant, and a line break may end what a pattern looks at
      if (/\p{Cc}/u.test(value)) return "holds a control character";
      return wholly(parameter.pattern).test(value) ? undefined : `does not match ${parameter.pattern}`;
    case "integer":
      if (typeof value !== "number" || !Number.isSafeInteger(value)) return "must be a whole number";
      return value < parameter.min || value > parameter.max ? `must be from ${parameter.min} to ${parameter.max}` : undefined;
    case "enum":
      return parameter.values.some((one) => one === value) ? undefined : `must be one of ${parameter.values.join(", ")}`;
  }
}

/** A task as its template makes it, with the names of secrets that it may be given; or why this host does not run it. */
export type Expanded = { task: Task; secretNames: readonly string[] } | { reason: string };

/**
 * What a service that names a template runs on this host: the template's words with the service's parameters in their places. Of the
 * task nothing else counts but what is taken over here by name.
 */
export function expand(templates: Templates, task: Task): Expanded {
  const name = task.template?.name ?? "";
  const template = Object.hasOwn(templates, name) ? templates[name] : undefined;
  if (template === undefined) return { reason: `this host has no template "${name}": it has ${Object.keys(templates).join(", ") || "none"}` };
  const refuse = (why: string): Expanded => ({ reason: `template "${name}": ${why}` });
  if (task.run !== "" || task.setup !== undefined || task.workdir !== undefined) return refuse("a service that names a template cannot bring run, setup or workdir of its own");
  const values = new Map<string, string>();
  const given = task.template?.parameters ?? {};
  for (const key of Object.keys(given)) if (!Object.hasOwn(template.parameters, key)) return refuse(`it has no parameter "${key.slice(0, 64)}"`);
  for (const [key, parameter] of Object.entries(template.parameters)) {
    const value = Object.hasOwn(given, key) ? given[key] : parameter.default;
    if (value === undefined) return refuse(`parameter "${key}" is missing`);
    const problem = misfit(parameter, value);
    if (problem !== undefined) return refuse(`parameter "${key}" ${problem}`);
    // an argument that begins as an option would be one
    if (parameter.type === "string" && String(value).startsWith("-") && template.argv.some((word) => word.startsWith(`{${key}}`))) return refuse(`parameter "${key}" must not begin with "-"`);
    values.set(key, String(value));
  }
  const strange = Object.keys(task.envs).find((key) => !template.allow_env.includes(key));
  if (strange !== undefined) return refuse(`it does not let a service set ${strange.slice(0, 64)}: allow_env names ${template.allow_env.join(", ") || "nothing"}`);
  if (task.gpus > template.gpus) return refuse(`${task.gpus} GPUs are more than the ${template.gpus} that it allows`);
  const image = "image" in task && typeof task.image === "string" ? task.image : undefined;
  if (image !== undefined && !template.images.some((digest) => image.endsWith(`@${digest}`))) return refuse("its image is none of those that images names, by @sha256: digest");

  const { service, version, digest, sealedSecrets, probe, drainMs, gpus } = task;
  return {
    secretNames: template.allow_env,
    task: {
      service, version, digest, probe, drainMs, gpus,
      run: `exec ${template.argv.map((word) => quoted(word, values)).join(" ")}`,
      envs: { ...task.envs, ...template.env },
      gate: template.gate,
      ...(image === undefined ? {} : { image }),
      ...(sealedSecrets === undefined ? {} : { sealedSecrets }),
      ...(template.workdir === undefined ? {} : { workdir: template.workdir }),
      ...(template.port === undefined ? {} : { fixedPort: template.port }),
    },
  };
}

/**
 * One argument as one word of a shell: between single quotes nothing has a meaning but the quote itself. Only the port, which is not
 * known before the start, is left for the shell to fill in.
 */
function quoted(word: string, values: ReadonlyMap<string, string>): string {
  const port = "\0";
  const text = word.replace(placeholder, (_whole, name: string) => (name === "port" ? port : (values.get(name) ?? "")));
  return text.split(port).map((part) => `'${part.replaceAll("'", `'\\''`)}'`).join('"$PORT"');
}
