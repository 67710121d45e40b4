/** A chat's state as a React value. */

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Client } from "../client.js";
import { emptyState, type ChatState } from "../state.js";
import type { ChatStateSync, SyncOptions } from "../sync.js";
import { useClient } from "./provider.js";

export interface ChatStateSyncOptions extends SyncOptions {
  readonly chatId: string;
}

/** Show a chat for as long as the component is there. The callbacks may change at any time. */
export function useChatStateSync(options: ChatStateSyncOptions): ChatState {
  const { chatId, enabled = true, transport = "auto" } = options;
  const client = useClient();
  const callbacks = useRef(options);
  useEffect(() => {
    callbacks.current = options;
  });
  const source = useMemo(
    () => sourceOf(client, chatId, { enabled, transport }, callbacks),
    [client, chatId, enabled, transport],
  );
  return useSyncExternalStore(source.subscribe, source.state, source.state);
}

interface Source {
  readonly subscribe: (listener: () => void) => () => void;
  readonly state: () => ChatState;
}

/**
 * A chat that is open while somebody subscribes. Nothing happens before: React may make one
 * and never use it, and StrictMode subscribes twice.
 */
function sourceOf(
  client: Client,
  chatId: string,
  options: Pick<SyncOptions, "enabled" | "transport">,
  callbacks: { readonly current: SyncOptions },
): Source {
  let sync: ChatStateSync | null = null;
  const before = emptyState(chatId);
  return {
    subscribe(listener) {
      const opened = client.open(chatId, {
        ...options,
        onStateUpdate: (updated) => callbacks.current.onStateUpdate?.(updated),
        onError: (error) => callbacks.current.onError?.(error),
      });
      sync = opened;
      opened.subscribe(listener);
      return () => {
        opened.dispose(); // and shows what was seen last
      };
    },
    state: () => sync?.state ?? before,
  };
}
