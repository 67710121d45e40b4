/** Which chat is open: behind the `#` of the address, so that Back and links work. */

import { useSyncExternalStore } from "react";

const OPEN = /^#\/chats\/([\w-]{1,64})$/;

export function useOpenChat(): string | null {
  return useSyncExternalStore(subscribe, () => OPEN.exec(location.hash)?.[1] ?? null);
}

export function openChat(chatId: string | null): void {
  location.hash = chatId === null ? "/" : `/chats/${chatId}`;
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => {
    removeEventListener("hashchange", listener);
  };
}
