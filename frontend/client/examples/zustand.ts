/** Chats in a Zustand store, as a cache that is only read: what changes them is the backend. */

import type { ChatState, Client } from "@contextd/client";
import { createStore, type StoreApi } from "zustand/vanilla";

export interface Chats {
  /** What is shown of each chat that is open, by its id. */
  readonly chats: Readonly<Record<string, ChatState>>;
}

/** The store without `setState`. */
export type ChatStore = Pick<StoreApi<Chats>, "getState" | "getInitialState" | "subscribe">;

/** A store of the chats that are opened with the function beside it, which returns how to close. */
export function chatStore(client: Client): readonly [ChatStore, (chatId: string) => () => void] {
  const store = createStore<Chats>(() => ({ chats: {} }));
  const put = (state: ChatState): void => {
    store.setState(({ chats }) => ({ chats: { ...chats, [state.chatId]: state } }));
  };
  function open(chatId: string): () => void {
    const sync = client.open(chatId, { onStateUpdate: put });
    put(sync.state);
    return () => {
      sync.dispose();
      store.setState(({ chats: { [chatId]: _, ...chats } }) => ({ chats }));
    };
  }
  const { getState, getInitialState, subscribe } = store;
  return [{ getState, getInitialState, subscribe }, open];
}
