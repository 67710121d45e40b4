/** One chat of the list: its title, what is going on in it, and a menu. */

import type { BackendContextService, ContextSummary } from "@contextd/client";
import { memo, useState, type ReactNode } from "react";

import { Dialog } from "../common/Dialog.js";
import { Icon } from "../common/Icon.js";
import { DeleteDialog } from "./DeleteDialog.js";
import { Menu } from "./Menu.js";
import { useNotices } from "./notices.js";
import { badgeOf, shortTime, titleOf, type Badge } from "./words.js";

interface ContextRowProps {
  readonly context: ContextSummary;
  readonly isOpen: boolean;
  readonly isUnread: boolean;
  readonly service: BackendContextService;
  readonly onOpen: (chatId: string | null) => void;
  readonly onChanged: (chatId: string) => void;
}

const SAID: Readonly<Record<Exclude<Badge, null>, string>> = {
  running: "at work",
  asking: "waits for you",
  failed: "failed",
  paused: "paused",
  unread: "unread",
};

export const ContextRow = memo(function ContextRow(props: ContextRowProps): ReactNode {
  const { context, isOpen, isUnread, service, onOpen, onChanged } = props;
  const [asked, setAsked] = useState<"rename" | "delete" | null>(null);
  const { attempt } = useNotices();
  const badge = badgeOf(context, isUnread);
  const isPinned = context.pinned;
  const change = async (work: Promise<unknown>): Promise<void> => {
    setAsked(null);
    await attempt(work);
    onChanged(context.id);
  };
  return (
    <li className="context" data-badge={badge ?? "none"} data-chat={context.id}>
      <a
        href={`#/chats/${context.id}`}
        aria-current={isOpen ? "page" : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey) return;
          event.preventDefault();
          onOpen(context.id);
        }}
      >
        {badge === null ? null : <i className="badge" />}
        <span className="context-title" dir="auto">
          {titleOf(context)}
        </span>
        {badge === null ? null : <span className="hidden-text">, {SAID[badge]}</span>}
        {isPinned ? <Icon name="pin" /> : null}
        <time dateTime={context.updated_at}>{shortTime(context.updated_at)}</time>
      </a>
      <Menu
        label={`Menu of ${titleOf(context)}`}
        items={[
          {
            label: "Rename",
            icon: "edit",
            act: () => {
              setAsked("rename");
            },
          },
          {
            label: isPinned ? "Unpin" : "Pin",
            icon: "pin",
            act: () =>
              void change(isPinned ? service.unpin(context.id) : service.pin(context.id)),
          },
          {
            label: "Delete",
            icon: "trash",
            isBad: true,
            act: () => {
              setAsked("delete");
            },
          },
        ]}
      />
      {asked === "rename" ? (
        <Rename
          title={context.title}
          onClose={() => {
            setAsked(null);
          }}
          onTitle={(title) => void change(service.rename(context.id, { title }))}
        />
      ) : null}
      {asked === "delete" ? (
        <DeleteDialog
          onClose={() => {
            setAsked(null);
          }}
          onDelete={() => {
            if (isOpen) onOpen(null);
            void change(service.deleteChat(context.id));
          }}
        >
          “{titleOf(context)}” and all that was said in it will be gone, on the server too.
        </DeleteDialog>
      ) : null}
    </li>
  );
});

interface RenameProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly onTitle: (title: string) => void;
}

const TITLE_CHARS_MAX = 200;

function Rename({ title, onClose, onTitle }: RenameProps): ReactNode {
  const [text, setText] = useState(title);
  return (
    <Dialog
      title="Rename the chat"
      onClose={onClose}
      onSubmit={() => {
        onTitle(text.trim());
      }}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button button-main" disabled={text.trim() === ""}>
            Rename
          </button>
        </>
      }
    >
      <label className="field">
        <span>Title</span>
        <input
          className="input"
          dir="auto"

          maxLength={TITLE_CHARS_MAX}
          value={text}
          onChange={(event) => {
            setText(event.target.value);
          }}
        />
      </label>
    </Dialog>
  );
}
