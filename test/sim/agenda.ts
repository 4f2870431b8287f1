/** What is done at a time. */
export type Work = (now: number) => void;

interface Item {
  at: number;
  order: number;
  work: Work;
}

const before = (a: Item, b: Item): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** Virtual time: work to be done at its time, equal times in the order of their entry. A binary heap. */
export class Agenda {
  /** The time of what is being done. */
  now: number;
  #heap: Item[] = [];
  #order = 0;

  /** @param from ms since the epoch, or since anything else */
  constructor(from = 0) {
    this.now = from;
  }

  /** What is past is done at once, after what is due now. */
  add(at: number, work: Work): void {
    const heap = this.#heap;
    const item = { at: Math.max(at, this.now), order: this.#order++, work };
    let i = heap.push(item) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(item, heap[up] as Item)) break;
      heap[i] = heap[up] as Item;
      i = up;
    }
    heap[i] = item;
  }

  after(ms: number, work: Work): void {
    this.add(this.now + ms, work);
  }

  /** Again and again, the first time after one interval, until it says false. */
  every(ms: number, work: (now: number) => boolean | void): void {
    this.after(ms, (now) => {
      if (work(now) !== false) this.every(ms, work);
    });
  }

  /** Until nothing is left to be done, or to a time, what is due then included. */
  run(until = Number.POSITIVE_INFINITY): void {
    const heap = this.#heap;
    for (let first = heap[0]; first !== undefined && first.at <= until; first = heap[0]) {
      const last = heap.pop() as Item;
      if (heap.length > 0) this.#sink(last);
      this.now = first.at;
      first.work(first.at);
    }
    if (Number.isFinite(until)) this.now = Math.max(this.now, until);
  }

  /** The last takes the place of the first. */
  #sink(last: Item): void {
    const heap = this.#heap;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1] as Item, heap[down] as Item)) down++;
      if (!before(heap[down] as Item, last)) break;
      heap[i] = heap[down] as Item;
      i = down;
    }
    heap[i] = last;
  }
}
