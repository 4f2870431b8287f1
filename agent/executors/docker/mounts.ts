import { realpath } from "node:fs/promises";
import { sep } from "node:path";
import type { Task } from "../../../schema/task.ts";
import { StartError } from "../../executor.ts";
import type { DockerConfig } from "../config.ts";
import type { Mount } from "./container.ts";

/**
 * The folders that a container is given: the service's workdir under its own path, and its volumes.
 *
 * @param allowed what the host's owner lets containers have; what is in a folder of these is allowed with it
 * @throws StartError for one that is not allowed, or not there
 */
export async function mountsOf({ workdir, mounts = {} }: Pick<Task, "workdir" | "mounts">, allowed: DockerConfig["mounts"]): Promise<Mount[]> {
  const wanted = [...(workdir === undefined ? [] : [{ source: workdir, target: workdir }]), ...Object.entries(mounts).map(([target, source]) => ({ source, target }))];
  const roots = await Promise.all(allowed.map(async ({ path, writable }) => ({ path: await realpath(path).catch(() => path), writable })));
  return Promise.all(
    wanted.map(async ({ source, target }) => {
      const names = allowed.length === 0 ? "names none" : `names ${allowed.map(({ path }) => path).join(", ")}`;
      // a link inside an allowed folder may lead out of it
      const real = await realpath(source).catch(() => undefined);
      const root = roots.find(({ path }) => real === path || real?.startsWith(path.endsWith(sep) ? path : path + sep));
      if (real === undefined) throw new StartError(`its folder ${source} is not on this host, and files are not copied to hosts`);
      if (root === undefined) throw new StartError(`its folder ${source} is none that this host gives to containers: executors.docker.mounts in the agent's configuration ${names}`);
      return { source: real, target, writable: root.writable };
    }),
  );
}
