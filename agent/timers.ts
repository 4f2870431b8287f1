/** Undoes what was planned; harmless when it has already happened. */
export type Cancel = () => void;

/** What happens later, as an argument: tests shorten it or drive it by hand. */
export interface Timers {
  /** Runs the action once, after so many milliseconds. */
  after(ms: number, action: () => void): Cancel;
}

export const systemTimers: Timers = {
  after(ms, action) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};
