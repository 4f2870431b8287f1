import type { Task } from "../../schema/task.ts";

/** Names whose values are likely to be the agent's own secrets, or belong to the way in which the agent itself was started. */
const privateName = /^(FAIRLEAD_|NODE_|npm_|LISTEN_|NOTIFY_SOCKET$|WATCHDOG_|CREDENTIALS_DIRECTORY$|INVOCATION_ID$|JOURNAL_STREAM$)|(^|_)(TOKENS?|SECRETS?|PASS|PASSWORDS?|PASSWD|PASSPHRASE|API_?KEYS?|PRIVATE_KEYS?|ACCESS_KEYS?|ACCESS_KEY_ID|SECRET_KEYS?|CREDENTIALS?|AUTH|DSN|DATABASE_URL|CONNECTION_STRING)($|_)/i;

export interface EnvironmentOptions {
  /** The agent's own environment. */
  own: Readonly<Record<string, string | undefined>>;
  task: Task;
  secrets: Readonly<Record<string, string>>;
  id: string;
  number: number;
  port: number;
  /** The agent's state folder, which marks a process as its own; absent for what runs elsewhere. */
  state?: string;
  /** Where it should listen, if it listens where it is told to. */
  host?: string;
}

/**
 * What a replica's scripts find in their environment: the agent's own without its secrets, the service's `envs` and `secrets`,
 * and the names by which SkyServe's and Fairlead's scripts know where they run. The last win.
 */
export function replicaEnvironment({ own, task, secrets, id, number, port, state, host = "127.0.0.1" }: EnvironmentOptions): Record<string, string> {
  const environment: Record<string, string> = { PYTHONUNBUFFERED: "1" };
  for (const [name, value] of Object.entries(own)) if (value !== undefined && !privateName.test(name)) environment[name] = value;
  return {
    ...environment,
    HOST: host,
    ...task.envs,
    ...secrets,
    PORT: String(port),
    FAIRLEAD_PORT: String(port),
    FAIRLEAD_REPLICA: id,
    FAIRLEAD_SERVICE: task.service,
    ...(state === undefined ? {} : { FAIRLEAD_STATE: state }),
    SKYPILOT_SERVICE_NAME: task.service,
    SKYPILOT_SERVE_REPLICA_ID: String(number),
    SKYPILOT_NUM_GPUS_PER_NODE: String(task.gpus),
    SKYPILOT_NUM_NODES: "1",
    SKYPILOT_NODE_RANK: "0",
    SKYPILOT_NODE_IPS: "127.0.0.1",
    SKYPILOT_TASK_ID: `fairlead-${id}`,
  };
}
