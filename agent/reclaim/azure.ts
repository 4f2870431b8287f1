import type { Now } from "../../schema/clock.ts";
import { fieldsOf, timeOf, trouble, type Answer, type Cloud, type Notice, type Question } from "./notice.ts";

const headers = { metadata: "true" };
const instance: Question = { method: "GET", path: "/metadata/instance/compute?api-version=2021-02-01", headers, timeoutMs: 5_000 };
const events: Question = { method: "GET", path: "/metadata/scheduledevents?api-version=2020-07-01", headers, timeoutMs: 5_000 };

/** What ends the processes of a machine, and what it is called. A freeze pauses them for seconds: they stay. */
const ending: Record<string, string> = {
  Preempt: "Azure evicts this spot machine",
  Terminate: "Azure deletes this machine",
  Redeploy: "Azure moves this machine to other hardware",
  Reboot: "Azure restarts this machine",
};

/** The machine's own name: events are told to every machine of a set. */
export function machineName(answer: Answer): string | undefined {
  const { name } = fieldsOf(answer.body);
  return answer.status === 200 && typeof name === "string" && name !== "" ? name : undefined;
}

/** @returns undefined when the answer cannot be read */
export function scheduled(body: string, machine: string, now: Now): Notice | null | undefined {
  const { Events: list } = fieldsOf(body);
  if (!Array.isArray(list)) return undefined;
  let first: Notice | null = null;
  for (const event of list as unknown[]) {
    const { EventType: type, Resources: machines, NotBefore: notBefore, EventStatus: status } = (typeof event === "object" && event !== null ? event : {}) as Record<string, unknown>;
    const reason = typeof type === "string" ? ending[type] : undefined;
    if (reason === undefined || (Array.isArray(machines) && !machines.includes(machine))) continue;
    // one that has begun says no time any more
    const at = timeOf(notBefore) ?? (status === "Started" || notBefore === "" ? now : undefined);
    if (first === null || (at ?? Infinity) < (first.at ?? Infinity)) first = { source: "azure", ...(at === undefined ? {} : { at }), reason };
  }
  return first;
}

/**
 * Azure's scheduled events (learn.microsoft.com: "Scheduled Events for Linux VMs"). They are not acknowledged: an acknowledgement
 * takes away the time that is left.
 */
export const azure: Cloud = {
  name: "azure",
  base: "http://169.254.169.254",
  probe: { ...instance, timeoutMs: 1_000 },
  is: (answer) => machineName(answer) !== undefined,
  watches: [
    {
      name: "scheduledevents",
      first: instance,
      read(answer, asked, now) {
        if (answer === undefined) return trouble(asked, answer);
        if (asked.known === undefined) {
          const known = machineName(answer);
          // the first call switches the service on for this machine, and may take two minutes
          return known === undefined ? trouble(asked, answer) : { next: { ...events, known, timeoutMs: 130_000 }, afterMs: 0 };
        }
        const notice = answer.status === 200 ? scheduled(answer.body, asked.known, now) : undefined;
        return notice === undefined ? trouble(asked, answer) : { next: { ...asked, timeoutMs: events.timeoutMs }, afterMs: 1_000, notice };
      },
    },
  ],
};
