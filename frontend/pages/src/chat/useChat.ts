/** One chat, followed for as long as it is shown. */

import type { ChatState, ChatStateSync, Client } from "@contextd/client";
import { useEffect, useState, useSyncExternalStore } from "react";

export interface Followed {
  readonly sync: ChatStateSync;
  readonly state: ChatState;
}

/** Null for the moment in which it is opened. */
export function useFollowed(client: Client, chatId: string): Followed | null {
  const [sync, setSync] = useState<ChatStateSync | null>(null);
  useEffect(() => {
    const opened = client.open(chatId);
    setSync(opened);
    return () => {
      setSync(null);
      opened.dispose();
    };
  }, [client, chatId]);
  const state = useSyncExternalStore(
    (listener) => sync?.subscribe(listener) ?? ((): void => undefined),
    () => sync?.state ?? null,
  );
  return sync === null || state === null ? null : { sync, state };
}
