/** What Hubs remember of a service: requests that isolates told them of, or what they decided about its replicas. */
export const toldKinds = ["requests", "journal"] as const;
export type ToldKind = (typeof toldKinds)[number];

/** One line of it. */
export interface ToldLine {
  /** ms since the epoch. */
  at: number;
  text: string;
}

/** Lines in the order of their times, and where to go on. */
export interface ToldLines {
  lines: ToldLine[];
  /** To be sent back as it is: a place in each Hub's list. */
  next: string;
}
