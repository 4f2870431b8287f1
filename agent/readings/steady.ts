import type { Readings } from "../../schema/readings.ts";

const mebibyte = 1024 * 1024;
/** How finely a heartbeat tells: steps that a person would not see, and that noise does not cross. */
const steps = { ageMs: 15_000, memoryBytes: 64 * mebibyte, diskBytes: 256 * mebibyte, utilisation: 0.01, temperatureC: 2, powerW: 10, load: 0.25 };

function rounded(value: number | undefined, step: number): number | undefined {
  // the second rounding takes away what 0.07 / 0.01 leaves behind
  return value === undefined ? undefined : Number((Math.round(value / step) * step).toFixed(6));
}

function known<Fields extends Record<string, unknown>>(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Fields;
}

/** Readings in steps: a host that does nothing says the same in every heartbeat, and its Hub need not read it again (`edge/hub/unchanged.ts`). */
export function steady({ ageMs, gpus, host }: Readings): Readings {
  return {
    ageMs: Math.floor(ageMs / steps.ageMs) * steps.ageMs,
    gpus: gpus.map((gpu) => known({
      ...gpu,
      memoryUsedBytes: rounded(gpu.memoryUsedBytes, steps.memoryBytes), utilisation: rounded(gpu.utilisation, steps.utilisation),
      temperatureC: rounded(gpu.temperatureC, steps.temperatureC), powerW: rounded(gpu.powerW, steps.powerW),
    })),
    ...(host === undefined ? {} : { host: known({ ...host, load1: rounded(host.load1, steps.load), memoryUsedBytes: rounded(host.memoryUsedBytes, steps.memoryBytes), diskFreeBytes: rounded(host.diskFreeBytes, steps.diskBytes) }) }),
  };
}
