/** What is being written in each chat and not sent: of this tab, through reloads. */

import { useState } from "react";

const PREFIX = "contextd.draft.";

export function useDraft(chatId: string): readonly [string, (text: string) => void] {
  const [text, setText] = useState(() => sessionStorage.getItem(PREFIX + chatId) ?? "");
  const write = (next: string): void => {
    setText(next);
    if (next === "") sessionStorage.removeItem(PREFIX + chatId);
    else sessionStorage.setItem(PREFIX + chatId, next);
  };
  return [text, write];
}
