/** Polling: the whole state when it has changed, told by its ETag; the last resort. */

import type { ActionResponse, EventsPage, Frame } from "../wire.js";
import { pathOf } from "../service.js";
import type { Link, Transport } from "./transport.js";

/** Ask for the state at the pace of what happens. */
export const poll: Transport = async (link, signal) => {
  while (!signal.aborted) {
    const before = link.cursor();
    const frame = await readState(link, before, signal);
    link.opened();
    if (frame !== null) link.take(frame);
    if (link.cursor() === before) link.pace.unchanged();
    else link.pace.changed();
    await link.pause(link.pace.delayMs);
  }
  return 0;
};

/** How long one long poll waits. */
export const LONG_POLL_MS = 25_000;

/** Before the next long poll, where one has brought nothing new. */
const REPEAT_MS = 250;

/** Ask for what happens next, and be answered when it does. */
export const longPoll: Transport = async (link, signal) => {
  let waitMs = 0; // the first is answered at once: it works, and nothing was missed
  while (!signal.aborted) {
    const cursor = link.cursor();
    if (cursor === null) {
      const frame = await readState(link, null, signal);
      if (frame !== null) link.take(frame);
    } else {
      const { body } = await link.connection.ask<EventsPage>(
        `${pathOf(link.chatId)}/state?after=${cursor}`,
        {
          method: "GET",
          headers: waitMs === 0 ? {} : { Prefer: `wait=${waitMs / 1_000}` },
          waitMs,
          tries: 1,
          signal,
        },
      );
      for (const frame of (body?.events ?? []) as readonly Frame[]) link.take(frame);
    }
    link.opened();
    // Where a frame could not be folded, the state is being read: the cursor goes on with it.
    if (link.cursor() === cursor) await link.pause(REPEAT_MS);
    waitMs = LONG_POLL_MS;
  }
  return 0;
};

/** The state as a frame; null: it is still at `cursor`. */
export async function readState(
  link: Pick<Link, "chatId" | "connection">,
  cursor: string | null,
  signal: AbortSignal,
): Promise<Frame | null> {
  const { body } = await link.connection.ask<ActionResponse>(`${pathOf(link.chatId)}/state`, {
    method: "GET",
    headers: cursor === null ? {} : { "If-None-Match": `"${cursor}"` },
    tries: 1,
    signal,
  });
  const context = body?.context ?? null;
  return context && { id: context.cursor, event: "snapshot", data: { ...context } };
}
