/** The AWS SDKs' numbers (facts/failures.md §2). */
export const budgetTokens = 500;
export const retryCost = { transient: 14, throttling: 5 } as const;

/**
 * What a service may spend on repeating: a bucket that starts full, that every repetition takes from and every answer gives one
 * back to. When nearly all goes well it is always full; when nothing does it runs dry, and each request is tried once.
 */
export class RetryBudget {
  #tokens = budgetTokens;

  /** Whether there is enough for one more attempt; it is spent when there is. */
  take(cost: number): boolean {
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  succeeded(): void {
    if (this.#tokens < budgetTokens) this.#tokens++;
  }

  get left(): number {
    return this.#tokens;
  }
}
