/** The list of chats: search, new, and what may be done with each. */

import type { BackendContextService, ContextSummary } from "@contextd/client";
import { useState, type ReactNode, type RefObject } from "react";

import { Icon } from "../common/Icon.js";
import { readKey } from "../common/key.js";
import { Mark } from "../common/SignIn.js";
import { THEMES, useTheme } from "../common/theme.js";
import { ContextRow } from "./ContextRow.js";
import type { Contexts } from "./contexts.js";
import { LISTED_MAX } from "./listing.js";
import { UnreadableRow } from "./Unreadable.js";
import { nameOf } from "./words.js";
import "./sidebar.css";

/** So many are shown, and so many more where that is asked for. */
const ROWS = 50;

interface SidebarProps {
  readonly contexts: Contexts;
  readonly service: BackendContextService;
  readonly openId: string | null;
  readonly search: RefObject<HTMLInputElement | null>;
  readonly isUnread: (context: ContextSummary) => boolean;
  readonly onOpen: (chatId: string | null) => void;
  readonly onHelp: () => void;
  readonly onSignOut: () => void;
}

export function Sidebar(props: SidebarProps): ReactNode {
  const { contexts, openId, search, onOpen } = props;
  const [sought, setSought] = useState("");
  const [rows, setRows] = useState(ROWS);
  const words = sought.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = contexts.all?.filter((context) => {
    const name = nameOf(context).toLocaleLowerCase();
    return words.every((word) => name.includes(word));
  });
  return (
    <nav className="sidebar" aria-label="Chats">
      <div className="sidebar-head">
        <h1>
          <Mark />
          contextd
        </h1>
        <button
          type="button"
          className="button-icon"
          aria-label="New chat"
          title="New chat (Alt+N)"
          onClick={() => {
            onOpen(null);
          }}
        >
          <Icon name="plus" />
        </button>
      </div>
      <label className="search">
        <Icon name="search" />
        <span className="hidden-text">Search the chats</span>
        <input
          ref={search}
          type="search"
          placeholder="Search"
          value={sought}
          onChange={(event) => {
            setSought(event.target.value);
            setRows(ROWS);
          }}
          onKeyDown={(event) => {
            const first = found?.[0];
            if (event.key === "Enter" && first !== undefined) onOpen(first.id);
            if (event.key === "Escape") setSought("");
          }}
        />
      </label>
      {found === undefined ? (
        <Waiting trouble={contexts.trouble} />
      ) : (
        <ul className="contexts" tabIndex={-1}>
          {found.slice(0, rows).map((context) => {
            const shared = {
              ...{ isOpen: context.id === openId, service: props.service },
              ...{ onOpen, onChanged: contexts.refresh },
            };
            return context.status === "unreadable" ? (
              <UnreadableRow key={context.id} context={context} {...shared} />
            ) : (
              <ContextRow
                key={context.id}
                context={context}
                isUnread={!shared.isOpen && props.isUnread(context)}
                {...shared}
              />
            );
          })}
          {found.length === 0 ? (
            <li className="nothing">{nothing(contexts, words.length > 0)}</li>
          ) : null}
          {found.length > rows ? (
            <li className="nothing">
              <button
                type="button"
                className="button"
                onClick={() => {
                  setRows(rows + ROWS);
                }}
              >
                Show older chats
              </button>
            </li>
          ) : null}
        </ul>
      )}
      <Foot onHelp={props.onHelp} onSignOut={props.onSignOut} />
    </nav>
  );
}

/** Why there is none. */
function nothing({ all, isWhole }: Contexts, isSought: boolean): string {
  if (!isSought) return "No chats yet.";
  if (!isWhole) return "Looking through older chats…";
  return all?.length === LISTED_MAX
    ? `None of the newest ${LISTED_MAX.toString()} chats has that in its title.`
    : "No chat has that in its title.";
}

function Waiting({ trouble }: { readonly trouble: string | null }): ReactNode {
  return trouble !== null ? (
    <p className="nothing" role="status">
      {trouble}
    </p>
  ) : (
    <div className="bones" aria-busy="true" aria-label="The chats are being loaded">
      <i />
      <i />
      <i />
      <i />
    </div>
  );
}

function Foot({ onHelp, onSignOut }: Pick<SidebarProps, "onHelp" | "onSignOut">): ReactNode {
  const [theme, changeTheme] = useTheme();
  const [icon, label] = THEMES[theme];
  return (
    <div className="sidebar-foot">
      <a className="button-icon wide" href="/dashboard">
        Dashboard
      </a>
      <button
        type="button"
        className="button-icon button-small"
        aria-label={label}
        title={label}
        onClick={changeTheme}
      >
        <Icon name={icon} />
      </button>
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Keyboard shortcuts"
        title="Keyboard shortcuts (?)"
        onClick={onHelp}
      >
        <Icon name="keyboard" />
      </button>
      {readKey() === "" ? null : (
        <button type="button" className="button-icon wide" onClick={onSignOut}>
          Sign out
        </button>
      )}
    </div>
  );
}
