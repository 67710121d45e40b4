/** How chats are followed, where somebody has chosen: for networks that let only some ways through. */

import type { SyncOptions } from "@contextd/client";

const NAME = "contextd.transport";
const KNOWN = ["websocket", "sse", "long-poll", "poll"] as const;

export function chosenTransport(): NonNullable<SyncOptions["transport"]> {
  const kept = localStorage.getItem(NAME);
  return KNOWN.find((each) => each === kept) ?? "auto";
}
