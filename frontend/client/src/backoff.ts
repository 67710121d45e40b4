/** Waits between tries: they double, up to a bound, and are drawn from their upper half. */

export class Backoff {
  #tries = 0;

  constructor(
    private readonly random: () => number,
    private readonly baseMs: number,
    private readonly maxMs: number,
  ) {}

  /** How often it has failed in a row. */
  get tries(): number {
    return this.#tries;
  }

  /** The next wait, at least as long as somebody has asked for. */
  next(atLeastMs = 0): number {
    const windowMs = Math.min(this.maxMs, this.baseMs * 2 ** this.#tries);
    this.#tries += 1;
    return Math.max(atLeastMs, windowMs * (0.5 + this.random() / 2));
  }

  reset(): void {
    this.#tries = 0;
  }
}
