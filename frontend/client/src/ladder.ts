/** Which transport to use: the best that opens, and from time to time a better one is tried. */

/** How often a transport may fail to open, in a row, before the next one is taken. */
export const OPENINGS_MAX = 2;
/** After how long the better transports are tried again; doubled each time they fail. */
export const CLIMB_MS_BASE = 60_000;
export const CLIMB_MS_MAX = 960_000;

export class Ladder<Name extends string> {
  readonly #names: readonly [Name, ...Name[]];
  #rung = 0;
  #failures = 0;
  #climbMs = CLIMB_MS_BASE;
  /** Where the better ones are being tried from; null: they are not. */
  #from: number | null = null;

  /** @param names The best first. */
  constructor(names: readonly [Name, ...Name[]]) {
    this.#names = names;
  }

  /** The transport to use now. */
  get name(): Name {
    return this.#names[this.#rung] ?? this.#names[0];
  }

  /** How long to use it before the better ones are tried; null: there is no better one. */
  get climbMs(): number | null {
    return this.#rung === 0 ? null : this.#climbMs;
  }

  /** It works. */
  opened(): void {
    this.#failures = 0;
    if (this.#from === null) return;
    const isBetter = this.#rung < this.#from;
    this.#climbMs = isBetter ? CLIMB_MS_BASE : Math.min(CLIMB_MS_MAX, this.#climbMs * 2);
    this.#from = null;
  }

  /**
   * It did not open, though the gateway answers.
   *
   * @returns Whether there is another one to be taken now.
   */
  failed(): boolean {
    this.#failures += 1;
    const mayFail = this.#from === null ? OPENINGS_MAX : 1;
    if (this.#failures < mayFail || this.#rung === this.#names.length - 1) return false;
    this.#rung += 1;
    this.#failures = 0;
    return true;
  }

  /** Try the better ones again, from the best on. */
  climb(): void {
    this.#from = this.#rung;
    this.#rung = 0;
    this.#failures = 0;
  }
}
