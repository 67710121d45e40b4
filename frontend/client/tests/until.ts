/** Waits for states, within bounds. */

import type { ChatMessage, ChatState, ChatStateSync } from "../src/index.js";

const WITHIN_MS = 30_000;

/** The first state that is as it should be. */
export function until(
  sync: ChatStateSync,
  isSo: (state: ChatState) => boolean,
): Promise<ChatState> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      end();
      reject(
        new Error(`It did not come to that: ${JSON.stringify(sync.state).slice(0, 2_000)}`),
      );
    }, WITHIN_MS);
    const look = (): void => {
      if (!isSo(sync.state)) return;
      clearTimeout(late);
      end();
      resolve(sync.state);
    };
    const end = sync.subscribe(look);
    look();
  });
}

export function saidBy(role: ChatMessage["role"], state: ChatState): readonly string[] {
  return state.messages
    .filter((message) => message.role === role)
    .map(({ content }) => content);
}

/** The turn is over, and so many replies are there. */
export function answered(count: number): (state: ChatState) => boolean {
  return (state) =>
    state.status === "idle" &&
    (state.context?.messages.filter(({ role }) => role === "assistant").length ?? 0) >= count;
}
