/** The chat page: the list beside the chat that is open. */

import { useClient } from "@contextd/client/react";
import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";

import { Boundary } from "../common/Boundary.js";
import { openChat, useOpenChat } from "./address.js";
import { useContexts } from "./contexts.js";
import { Conversation } from "./Conversation.js";
import { NoticesContext, useNewNotices } from "./notices.js";
import { NoticeList } from "./NoticeList.js";
import { useUnread } from "./seen.js";
import { ShortcutsSheet } from "./ShortcutsSheet.js";
import { useShortcuts } from "./shortcuts.js";
import { Sidebar } from "./Sidebar.js";
import { StartChat } from "./StartChat.js";
import "./layout.css";

function Broken(): ReactNode {
  return (
    <div className="blank" role="alert">
      <h2>This chat cannot be shown</h2>
      <p>Nothing of it is lost: it is on the server.</p>
      <button
        type="button"
        className="button button-main"
        onClick={() => {
          location.reload();
        }}
      >
        Reload
      </button>
    </div>
  );
}

export function App({ onSignOut }: { readonly onSignOut: () => void }): ReactNode {
  const { service } = useClient();
  const chatId = useOpenChat();
  const contexts = useContexts(service);
  const unread = useUnread(contexts.isWhole ? contexts.all : null);
  const notices = useNewNotices();
  const [isListOpen, setIsListOpen] = useState(false);
  const [isHelpOpen, setIsHelpOpen] = useState(false);
  const search = useRef<HTMLInputElement>(null);

  const go = useCallback((id: string | null) => {
    openChat(id);
    setIsListOpen(false);
  }, []);
  const neighbour = (step: number): void => {
    const all = contexts.all ?? [];
    const at = all.findIndex((context) => context.id === chatId);
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    if (next !== undefined) go(next.id);
  };
  useShortcuts({
    newChat: () => {
      go(null);
    },
    search: () => {
      setIsListOpen(true);
      requestAnimationFrame(() => search.current?.focus());
    },
    next: () => {
      neighbour(1);
    },
    previous: () => {
      neighbour(-1);
    },
    help: () => {
      setIsHelpOpen(true);
    },
  });
  useEffect(() => {
    if (!isListOpen) return;
    const close = (event: KeyboardEvent): void => {
      if (event.key === "Escape") setIsListOpen(false);
    };
    addEventListener("keydown", close);
    return () => {
      removeEventListener("keydown", close);
    };
  }, [isListOpen]);

  const { refresh } = contexts;
  const { markSeen } = unread;
  return (
    <NoticesContext value={notices}>
      <div className="app" data-list={isListOpen ? "open" : "shut"}>
        <a
          className="skip"
          href="#stage"
          onClick={(event) => {
            event.preventDefault();
            (document.getElementById("composer") ?? document.getElementById("stage"))?.focus();
          }}
        >
          Skip to the chat
        </a>
        <Sidebar
          contexts={contexts}
          service={service}
          openId={chatId}
          search={search}
          isUnread={unread.isUnread}
          onOpen={go}
          onHelp={() => {
            setIsHelpOpen(true);
          }}
          onSignOut={onSignOut}
        />
        <button
          type="button"
          className="curtain"
          tabIndex={-1}
          aria-label="Close the list"
          onClick={() => {
            setIsListOpen(false);
          }}
        />
        <main className="stage" id="stage" tabIndex={-1}>
          {chatId === null ? (
            <StartChat
              service={service}
              onMenu={() => {
                setIsListOpen(true);
              }}
              onStarted={(id) => {
                refresh();
                go(id);
              }}
            />
          ) : (
            <Boundary key={chatId} instead={<Broken />}>
              <Conversation
                chatId={chatId}
                onMenu={() => {
                  setIsListOpen(true);
                }}
                onChanged={refresh}
                onSeen={markSeen}
                onGone={() => {
                  go(null);
                }}
              />
            </Boundary>
          )}
        </main>
        <NoticeList />
        {isHelpOpen ? (
          <ShortcutsSheet
            onClose={() => {
              setIsHelpOpen(false);
            }}
          />
        ) : null}
      </div>
    </NoticesContext>
  );
}
