/** How often to poll: each second at first, less often the longer nothing changes. */

export const POLL_MS = 1_000;
export const POLL_MS_MAX = 5_000;
/** After so many polls without a change, the interval doubles. */
export const UNCHANGED_MAX = 10;

export class Pace {
  #unchanged = 0;

  /** How long to wait until the next poll. */
  get delayMs(): number {
    const doublings = Math.floor(this.#unchanged / UNCHANGED_MAX);
    return Math.min(POLL_MS_MAX, POLL_MS * 2 ** doublings);
  }

  /** A poll has shown nothing new. */
  unchanged(): void {
    this.#unchanged += 1;
  }

  /** Something has changed. */
  changed(): void {
    this.#unchanged = 0;
  }
}
