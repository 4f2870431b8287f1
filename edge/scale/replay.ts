/** What one replica can do. */
export interface Capacity {
  /** Requests/s, for as long as one likes. */
  perS: number;
  /** Requests at once; the rate is what leaves them when all are taken. */
  slots: number;
  /** Requests/s that it can begin with, as long as slots are free: prompts are read faster than answers are written. */
  beginsPerS: number;
}

/** What is asked of a replay. */
export interface Asked {
  /** How long a request may wait, in seconds. */
  waitS: number;
  /** The share that may wait longer. */
  share: number;
  /** The seconds before this one fill the slots and are not counted. */
  from: number;
  /** Beyond so many replicas nothing is looked for. */
  most: number;
}

/**
 * How many requests would have waited longer than `waitS`, had there been so many replicas: a queue before slots that empty at the rate of
 * what they hold (a fluid model, by the second). Late is, of what came in a second, what cannot begin within `waitS` of its end.
 */
export function late(arrivals: readonly number[], replicas: number, { perS, slots, beginsPerS }: Capacity, { waitS, from }: Pick<Asked, "waitS" | "from">): number {
  const room = replicas * slots;
  const begins = replicas * beginsPerS;
  const leaves = 1 - Math.exp(-perS / slots);
  let held = 0;
  let queue = 0;
  let sum = 0;
  for (let second = 0; second < arrivals.length; second++) {
    const came = arrivals[second] ?? 0;
    // half of what leaves in this second makes room for what begins in it
    const left = held * leaves;
    const begun = Math.min(queue + came, begins, Math.max(0, room - held + left));
    held += begun - left;
    queue += came - begun;
    const soon = Math.min(begins * waitS, Math.max(0, room - held) + replicas * perS * waitS);
    if (second >= from) sum += Math.min(came, Math.max(0, queue - soon));
  }
  return sum;
}

/**
 * The fewest replicas with which no larger share of the requests would have been late; 0 of none. It assumes nothing about how requests
 * come: bursts count by what they were.
 */
export function fewest(arrivals: readonly number[], capacity: Capacity, asked: Asked): number {
  let total = 0;
  for (let second = asked.from; second < arrivals.length; second++) total += arrivals[second] ?? 0;
  if (total <= 0) return 0;
  let low = 1;
  let high = Math.max(1, asked.most);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (late(arrivals, middle, capacity, asked) <= asked.share * total) high = middle;
    else low = middle + 1;
  }
  return low;
}
