/** A chat that cannot be opened: in the list, and in the place of what was said in it. */

import type { BackendContextService } from "@contextd/client";
import { memo, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { MenuButton } from "./MenuButton.js";
import { DeleteDialog } from "./DeleteDialog.js";
import type { Unreadable } from "./listing.js";
import { Menu } from "./Menu.js";
import { useNotices } from "./notices.js";
import { nameOf, shortTime, timeOf, wholeTime } from "./words.js";

interface UnreadableRowProps {
  readonly context: Unreadable;
  readonly isOpen: boolean;
  readonly service: BackendContextService;
  readonly onOpen: (chatId: string | null) => void;
  readonly onChanged: (chatId: string) => void;
}

export const UnreadableRow = memo(function UnreadableRow(props: UnreadableRowProps): ReactNode {
  const { context, isOpen, service, onOpen, onChanged } = props;
  const { id } = context;
  const [isAsked, setIsAsked] = useState(false);
  const { attempt } = useNotices();
  const made = timeOf(context);
  return (
    <li className="context" data-badge="unreadable" data-chat={id}>
      <a
        href={`#/chats/${id}`}
        aria-current={isOpen ? "page" : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey) return;
          event.preventDefault();
          onOpen(id);
        }}
      >
        <Icon name="warn" />
        <span className="context-title">{nameOf(context)}</span>
        <span className="hidden-text">, made </span>
        <time dateTime={made}>{shortTime(made)}</time>
      </a>
      <Menu
        label={`Menu of a chat that cannot be opened, made ${wholeTime(made)}`}
        items={[
          {
            label: "Delete",
            icon: "trash",
            isBad: true,
            act: () => {
              setIsAsked(true);
            },
          },
        ]}
      />
      {isAsked ? (
        <DeleteUnreadable
          onClose={() => {
            setIsAsked(false);
          }}
          onDelete={() => {
            setIsAsked(false);
            if (isOpen) onOpen(null);
            void attempt(service.deleteChat(id)).then(() => {
              onChanged(id);
            });
          }}
        />
      ) : null}
    </li>
  );
});

interface UnreadableChatProps {
  readonly onMenu: () => void;
  readonly onDelete: () => void;
}

export function UnreadableChat({ onMenu, onDelete }: UnreadableChatProps): ReactNode {
  const [isAsked, setIsAsked] = useState(false);
  return (
    <>
      <div className="blank" role="alert">
        <MenuButton onMenu={onMenu} />
        <h2>This chat cannot be opened</h2>
        <p>
          It is still kept, but its key is not here, or somebody has changed it where it is
          stored. Whoever runs contextd may be able to bring it back.
        </p>
        <div className="blank-choices">
          <button
            type="button"
            className="button button-main"
            onClick={() => {
              location.reload();
            }}
          >
            Try again
          </button>
          <button
            type="button"
            className="button button-bad"
            onClick={() => {
              setIsAsked(true);
            }}
          >
            Delete
          </button>
        </div>
      </div>
      {isAsked ? (
        <DeleteUnreadable
          onClose={() => {
            setIsAsked(false);
          }}
          onDelete={onDelete}
        />
      ) : null}
    </>
  );
}

function DeleteUnreadable(props: {
  readonly onClose: () => void;
  readonly onDelete: () => void;
}): ReactNode {
  return (
    <DeleteDialog {...props}>
      Nobody can open it now, but it may be brought back. Once it is deleted, all that was said
      in it is gone for good.
    </DeleteDialog>
  );
}
