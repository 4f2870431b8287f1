/** What one replica can do. */
export interface Capacity {
  /** Requests/s that it does well, for as long as one likes. */
  wellPerS: number;
  /** Requests/s at most. */
  perS: number;
  /** Requests at once; the rate is what leaves them when all are taken. */
  slots: number;
  /** Requests/s that it can begin with, as long as slots are free: prompts are read faster than answers are written. */
  beginsPerS: number;
}

/** What is asked of a replay. */
export interface Asked {
  /** With an SLO: how long a request may wait, in seconds, but for a share of them. */
  slo?: { waitS: number; share: number };
  /** Without: one more is worth it while it spares so many requests waiting at any time, in the mean. */
  worth: number;
  /** The seconds before this one fill the slots and are not counted. */
  from: number;
  /** Beyond so many replicas nothing is looked for. */
  most: number;
}

/** What would have become of requests. */
export interface Replayed {
  requests: number;
  /** Of them, those that would have waited longer than they may. */
  late: number;
  /** How many would have waited, in the mean. */
  waiting: number;
}

/**
 * How requests would have waited, had there been so many replicas: a queue before slots that empty at the rate of what they hold (a fluid
 * model, by the second). Late is, of what came in a second, what cannot begin within `waitS` of its end.
 */
export function replay(arrivals: readonly number[], replicas: number, { perS, slots, beginsPerS }: Capacity, waitS: number, from: number): Replayed {
  const room = replicas * slots;
  const begins = replicas * beginsPerS;
  const leaves = perS / slots;
  let held = 0;
  let queue = 0;
  const seen = { requests: 0, late: 0, waiting: 0 };
  for (let second = 0; second < arrivals.length; second++) {
    const came = arrivals[second] ?? 0;
    // what leaves in this second makes room for what begins in it
    const left = held * leaves;
    const begun = Math.min(queue + came, begins, Math.max(0, room - held + left));
    held = Math.max(0, held + begun - left);
    queue += came - begun;
    if (second < from) continue;
    const soon = Math.min(begins * waitS, Math.max(0, room - held) + replicas * perS * waitS);
    seen.requests += came;
    seen.late += Math.min(came, Math.max(0, queue - soon));
    seen.waiting += queue / (arrivals.length - from);
  }
  return seen;
}

/**
 * The fewest replicas with which requests would not have waited longer than they may, or of which one more would not have been worth it; 0
 * of no requests. It assumes nothing about how requests come: bursts count by what they were.
 */
export function fewest(arrivals: readonly number[], capacity: Capacity, { slo, worth, from, most }: Asked): number {
  const of = (replicas: number): Replayed => replay(arrivals, replicas, capacity, slo?.waitS ?? 0, from);
  const { requests } = of(1);
  if (requests === 0) return 0;
  const isEnough = (replicas: number): boolean => (slo === undefined ? of(replicas).waiting - of(replicas + 1).waiting <= worth : of(replicas).late <= slo.share * requests);
  let low = Math.min(most, Math.max(1, Math.floor(requests / (arrivals.length - from) / capacity.perS)));
  let high = Math.max(low, most);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isEnough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
