/**
 * Whether somebody is in, whose key that is, and the client for it: another one for each key.
 *
 * What was written and not sent is kept elsewhere (outbox, drafts), of each account by itself:
 * nothing is lost when the key is refused in the middle of a conversation, and nobody gets what
 * somebody else has written.
 */

import {
  browserOutbox,
  createClient,
  memoryOutbox,
  type Client,
  type OutboxStorage,
} from "@contextd/client";

import { keepAccount, readAccount, readKey } from "../common/key.js";
import { troubleOf } from "./words.js";

const ASK_AGAIN_MS = 5_000;

export type Presence =
  /** A key is needed. */
  | { readonly kind: "out" }
  /** Whose the key is, is being asked; the trouble with that, in words. */
  | { readonly kind: "coming"; readonly client: Client; readonly trouble: string | null }
  | { readonly kind: "in"; readonly client: Client; readonly account: string };

export class Session {
  #presence: Presence = { kind: "out" };
  #callOff = (): void => undefined;
  readonly #listeners = new Set<() => void>();

  /** Come in with the key that is kept; without one, where none is asked for. */
  enter(): void {
    const [key, account] = [readKey(), readAccount()];
    if (account === null) {
      // It sends nothing: nobody knows yet whose outbox it would be.
      const client = this.#clientFor(key, memoryOutbox());
      this.#become({ kind: "coming", client, trouble: null });
      void this.#ask(client, key);
    } else {
      const client = this.#clientFor(key, browserOutbox(`contextd-outbox ${account}`));
      this.#become({ kind: "in", client, account });
    }
  }

  /** The key is not taken, or is not wanted here any more. */
  leave(): void {
    this.#become({ kind: "out" });
  }

  readonly presence = (): Presence => this.#presence;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #clientFor(key: string, storage: OutboxStorage): Client {
    const client = createClient({
      baseUrl: location.origin,
      apiKey: key,
      storage,
      fetch: async (...asked) => {
        // Another tab may have signed in or out meanwhile.
        if (this.#has(client) && readKey() !== key) this.enter();
        if (!this.#has(client)) throw new TypeError("This key is not in use any more.");
        const response = await fetch(...asked);
        if (response.status === 401 && this.#has(client)) this.leave();
        return response;
      },
    });
    return client;
  }

  async #ask(client: Client, key: string): Promise<void> {
    try {
      const { owner } = await client.service.getLimits();
      if (!this.#has(client)) return;
      if (readKey() === key) keepAccount(owner);
      this.enter();
    } catch (error) {
      if (!this.#has(client)) return;
      this.#show({ kind: "coming", client, trouble: troubleOf(error) });
      const timer = setTimeout(() => void this.#ask(client, key), ASK_AGAIN_MS);
      this.#callOff = () => {
        clearTimeout(timer);
      };
    }
  }

  #has(client: Client): boolean {
    return this.#presence.kind !== "out" && this.#presence.client === client;
  }

  #become(presence: Presence): void {
    this.#callOff();
    if (this.#presence.kind !== "out") this.#presence.client.dispose();
    this.#show(presence);
  }

  #show(presence: Presence): void {
    this.#presence = presence;
    for (const listener of this.#listeners) listener();
  }
}
