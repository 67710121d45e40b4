/** Whether somebody is in, and what looks at the gateways for them. */

import { forgetKey, readKey } from "../common/key.js";
import { makeApi, type Api } from "./api.js";
import type { Socket } from "./link.js";
import { Watcher } from "./watcher.js";

export interface Means {
  readonly api: Api;
  readonly watcher: Watcher;
}

export class Session {
  #means: Means | null = null;
  readonly #listeners = new Set<() => void>();

  /** Come in with the key that is kept; without one, where none is asked for. */
  enter(): void {
    const api = makeApi({
      key: readKey,
      fetch: (...asked) => fetch(...asked),
      onRefused: () => {
        if (this.#means?.api === api) this.#become(null);
      },
    });
    const watcher = new Watcher({
      api,
      openSocket: (path) =>
        new WebSocket(location.origin.replace(/^http/, "ws") + path) as Socket,
      after: (ms, call) => {
        const timer = setTimeout(call, ms);
        return () => {
          clearTimeout(timer);
        };
      },
      now: Date.now,
      random: Math.random,
    });
    this.#become({ api, watcher });
    watcher.start();
  }

  /** Nobody is in any more. */
  leave(): void {
    forgetKey();
    this.#become(null);
  }

  /** Null: a key is needed. */
  readonly means = (): Means | null => this.#means;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #become(means: Means | null): void {
    this.#means?.watcher.stop();
    this.#means = means;
    for (const listener of this.#listeners) listener();
  }
}
