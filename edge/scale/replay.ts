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
  /** How long a request may wait, in seconds: in the mean, or where a share is given, but for that share. */
  waitS: number;
  share?: number;
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
  /** What all would have waited, in seconds. */
  waitedS: number;
}

/**
 * How requests would have waited, had there been so many replicas: a queue before slots that empty at the rate of what they hold (a fluid
 * model, by the second). Late is, of what came in a second, what cannot begin within `waitS` of its end.
 */
export function replay(arrivals: readonly number[], replicas: number, { perS, slots, beginsPerS }: Capacity, { waitS, from }: Pick<Asked, "waitS" | "from">): Replayed {
  const room = replicas * slots;
  const begins = replicas * beginsPerS;
  const leaves = 1 - Math.exp(-perS / slots);
  let held = 0;
  let queue = 0;
  const seen = { requests: 0, late: 0, waitedS: 0 };
  for (let second = 0; second < arrivals.length; second++) {
    const came = arrivals[second] ?? 0;
    // half of what leaves in this second makes room for what begins in it
    const left = held * leaves;
    const begun = Math.min(queue + came, begins, Math.max(0, room - held + left));
    held += begun - left;
    queue += came - begun;
    if (second < from) continue;
    const soon = Math.min(begins * waitS, Math.max(0, room - held) + replicas * perS * waitS);
    seen.requests += came;
    seen.late += Math.min(came, Math.max(0, queue - soon));
    seen.waitedS += queue;
  }
  return seen;
}

/**
 * The fewest replicas with which requests would not have waited longer than they may; 0 of no requests. It assumes nothing about how
 * requests come: bursts count by what they were.
 */
export function fewest(arrivals: readonly number[], capacity: Capacity, asked: Asked): number {
  let low = 1;
  let high = Math.max(1, asked.most);
  while (low < high) {
    const middle = (low + high) >> 1;
    const { requests, late, waitedS } = replay(arrivals, middle, capacity, asked);
    if (requests === 0) return 0;
    if (asked.share === undefined ? waitedS <= asked.waitS * requests : late <= asked.share * requests) high = middle;
    else low = middle + 1;
  }
  return low;
}
