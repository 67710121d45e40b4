/** What a browser offers, as the client takes it. The only file that knows globals. */

import type { Debug } from "./connection.js";
import type { Clock, Locks, SocketFactory, Visibility } from "./environment.js";
import type { OutboxStorage } from "./outbox/entry.js";
import { indexedDbOutbox } from "./outbox/indexed-db.js";
import { memoryOutbox } from "./outbox/memory.js";

export const browserClock: Clock = {
  now: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

export function browserRandom(): number {
  return (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
}

export const browserVisibility: Visibility = {
  get hidden() {
    return typeof document !== "undefined" && document.hidden;
  },
  subscribe(listener) {
    if (typeof document === "undefined") return () => undefined;
    document.addEventListener("visibilitychange", listener);
    return () => {
      document.removeEventListener("visibilitychange", listener);
    };
  },
};

export function browserNetwork(listener: () => void): () => void {
  if (typeof addEventListener === "undefined") return () => undefined;
  addEventListener("online", listener);
  addEventListener("offline", listener);
  return () => {
    removeEventListener("online", listener);
    removeEventListener("offline", listener);
  };
}

/** Null where there are no WebSockets. */
export function browserSockets(): SocketFactory | null {
  if (typeof WebSocket === "undefined") return null;
  return (url) => new WebSocket(url);
}

/** Null where there are no Web Locks. */
export function browserLocks(): Locks | null {
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  if (locks === undefined) return null;
  return {
    request: async (name, options, held) => {
      await locks.request(name, options, held);
    },
  };
}

/** In IndexedDB where there is one; else the outbox lives as long as the page. */
export function browserOutbox(name: string): OutboxStorage {
  if (typeof indexedDB === "undefined") return memoryOutbox();
  const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name);
  return indexedDbOutbox({ indexedDB, name, ...(channel === null ? {} : { channel }) });
}

export const consoleDebug: Debug = (message, fields) => {
  console.debug(`contextd: ${message}`, fields);
};
