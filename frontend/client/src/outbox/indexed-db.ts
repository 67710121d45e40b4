/** An outbox in IndexedDB: it survives reloads, and all tabs of an origin share it. */

import type { OutboxEntry, OutboxStorage } from "./entry.js";

export interface IndexedDbOptions {
  readonly indexedDB: IDBFactory;
  /** Another one for each account: nobody sends what somebody else has written. */
  readonly name: string;
  /** Tells other tabs of changes; the part of `BroadcastChannel` that is used. */
  readonly channel?: {
    postMessage(message: string): void;
    addEventListener(type: "message", listener: () => void): void;
    removeEventListener(type: "message", listener: () => void): void;
  };
}

const ENTRIES = "entries";
const BY_ID = "id";

export function indexedDbOutbox({ indexedDB, name, channel }: IndexedDbOptions): OutboxStorage {
  let opening: Promise<IDBDatabase> | null = null;

  function opened(): Promise<IDBDatabase> {
    opening ??= open(indexedDB, name).then(
      (database) => {
        const forget = (): void => {
          opening = null;
        };
        database.onclose = forget;
        database.onversionchange = () => {
          database.close(); // somebody deletes it
          forget();
        };
        return database;
      },
      (error: unknown) => {
        opening = null;
        throw error;
      },
    );
    return opening;
  }

  /** One transaction; settled once it is durable, not once its requests are answered. */
  async function transact<T>(
    mode: IDBTransactionMode,
    work: (store: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    const database = await opened();
    const transaction = database.transaction(ENTRIES, mode, { durability: "strict" });
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => {
        resolve();
      };
      transaction.onabort = () => {
        reject(transaction.error ?? new Error("The transaction was aborted."));
      };
    });
    const [result] = await Promise.all([work(transaction.objectStore(ENTRIES)), done]);
    if (mode === "readwrite") channel?.postMessage("changed");
    return result;
  }

  return {
    list: () =>
      transact("readonly", (store) => answer(store.getAll() as IDBRequest<OutboxEntry[]>)),

    add: (entry) =>
      transact("readwrite", async (store) => {
        const position = (await answer(store.add(entry))) as number;
        return { ...entry, position };
      }),

    update: (entry) =>
      transact("readwrite", async (store) => {
        const key = await answer(store.index(BY_ID).getKey(entry.id));
        if (key !== undefined) await answer(store.put(entry));
      }),

    remove: (id) =>
      transact("readwrite", async (store) => {
        const key = await answer(store.index(BY_ID).getKey(id));
        if (key !== undefined) await answer(store.delete(key));
      }),

    subscribe(listener) {
      channel?.addEventListener("message", listener);
      return () => channel?.removeEventListener("message", listener);
    },
  };
}

function open(indexedDB: IDBFactory, name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    const store = request.result.createObjectStore(ENTRIES, {
      keyPath: "position",
      autoIncrement: true,
    });
    store.createIndex(BY_ID, "id", { unique: true });
  };
  return answer(request);
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new Error("IndexedDB has failed."));
    };
  });
}
