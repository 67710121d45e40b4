/** An outbox that lives as long as the page. */

import type { OutboxEntry, OutboxStorage } from "./entry.js";

export function memoryOutbox(): OutboxStorage {
  let entries: readonly OutboxEntry[] = [];
  let position = 0;
  return {
    list: () => Promise.resolve(entries),
    add(entry) {
      if (entries.some((other) => other.id === entry.id)) {
        return Promise.reject(new Error("There is an entry of this id."));
      }
      position += 1;
      const kept = { ...entry, position };
      entries = [...entries, kept];
      return Promise.resolve(kept);
    },
    update(entry) {
      entries = entries.map((other) => (other.id === entry.id ? entry : other));
      return Promise.resolve();
    },
    remove(id) {
      entries = entries.filter((other) => other.id !== id);
      return Promise.resolve();
    },
    subscribe: () => () => undefined,
  };
}
