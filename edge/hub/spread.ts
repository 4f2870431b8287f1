/**
 * How long agents had better take to come back, all together, when they lose their Hub: 1,000 at 125 a second, which is at most twice
 * the rate at which all are back within 10 s (failure model, row 28). A few come back at once.
 */
export function spreadMs(hosts: number): number {
  return Math.min(8_000, hosts * 8);
}
