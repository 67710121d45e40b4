/** Whose chats these are: the owner that the key belongs to. */

import { createContext, useContext } from "react";

export const AccountContext = createContext("");

export function useAccount(): string {
  return useContext(AccountContext);
}
