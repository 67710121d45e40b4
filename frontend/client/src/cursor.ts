/** Cursors, `<epoch>.<version>.<n>`: what was seen of a context. Epochs, versions and `n` only grow. */

export interface Position {
  readonly epoch: number;
  readonly version: number;
  /** Characters of the reply that is arriving. */
  readonly n: number;
}

export function positionOf(cursor: string): Position {
  const [epoch = NaN, version = NaN, n = NaN] = cursor.split(".").map(Number);
  return { epoch, version, n };
}

/** Negative if `left` is older than `right`, 0 if they are the same. */
export function compareCursors(left: string, right: string): number {
  const [a, b] = [positionOf(left), positionOf(right)];
  return a.epoch - b.epoch || a.version - b.version || a.n - b.n;
}
