/** Callbacks of those who use the client. */

/**
 * Call all of them back. What one throws is thrown once more behind this, where a page sees its
 * own errors; the others are called all the same, and nothing of the client ends by it.
 */
export function tell<Said extends readonly unknown[]>(
  listeners: ReadonlySet<(...said: Said) => void>,
  ...said: Said
): void {
  for (const listener of [...listeners]) {
    try {
      listener(...said);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
