/** Shows the list of chats, where the page is too narrow to have it beside the chat. */

import type { ReactNode } from "react";
import { Icon } from "../common/Icon.js";

export function MenuButton({ onMenu }: { readonly onMenu: () => void }): ReactNode {
  return (
    <button
      type="button"
      className="button-icon only-narrow"
      aria-label="Chats"
      onClick={onMenu}
    >
      <Icon name="menu" />
    </button>
  );
}
