/**
 * Whether somebody is in, and the client for it: another one for each key.
 *
 * What was written and not sent is kept elsewhere (outbox, drafts): nothing is lost when the
 * key is refused in the middle of a conversation.
 */

import { createClient, type Client } from "@contextd/client";

import { readKey } from "../common/key.js";

export class Session {
  #client: Client | null = null;
  readonly #listeners = new Set<() => void>();

  /** Come in with the key that is kept; without one, where none is asked for. */
  enter(): void {
    const client = createClient({
      baseUrl: location.origin,
      apiKey: readKey,
      fetch: async (...asked) => {
        const response = await fetch(...asked);
        if (response.status === 401 && this.#client === client) this.leave();
        return response;
      },
    });
    this.#become(client);
  }

  /** The key is not taken, or is not wanted here any more. */
  leave(): void {
    this.#become(null);
  }

  /** Null: a key is needed. */
  readonly client = (): Client | null => this.#client;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #become(client: Client | null): void {
    this.#client?.dispose();
    this.#client = client;
    for (const listener of this.#listeners) listener();
  }
}
