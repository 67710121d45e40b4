/** What is being written in each chat and not sent: of this tab and account, through reloads. */

import { useState } from "react";

import { useAccount } from "./account.js";

export function useDraft(chatId: string): readonly [string, (text: string) => void] {
  const name = `contextd.draft.${useAccount()}/${chatId}`;
  const [text, setText] = useState(() => sessionStorage.getItem(name) ?? "");
  const write = (next: string): void => {
    setText(next);
    if (next === "") sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, next);
  };
  return [text, write];
}
