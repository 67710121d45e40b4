/** A new chat: it is made with its first message, in one step. */

import { SEND_FAILED, type BackendContextService } from "@contextd/client";
import { useRef, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { Mark } from "../common/SignIn.js";
import { Composer } from "./Composer.js";
import { useDraft } from "./drafts.js";
import "./conversation.css";

interface StartChatProps {
  readonly service: BackendContextService;
  readonly onMenu: () => void;
  readonly onStarted: (chatId: string) => void;
}

const TITLE_CHARS_MAX = 50;

interface Attempted {
  readonly text: string;
  /** The same in every try: one chat is made, however often it is sent. */
  readonly key: string;
  readonly hasFailed: boolean;
}

export function StartChat({ service, onMenu, onStarted }: StartChatProps): ReactNode {
  const [attempted, setAttempted] = useState<Attempted | null>(null);
  const under = useRef<AbortController | null>(null);
  const [, keepDraft] = useDraft("new");
  const start = async (text: string, key: string): Promise<void> => {
    under.current?.abort();
    const controller = new AbortController();
    under.current = controller;
    setAttempted({ text, key, hasFailed: false });
    try {
      const made = await service.createChat(
        { title: titleFor(text), message: { content: text, client_message_id: key } },
        { idempotencyKey: key, signal: controller.signal },
      );
      onStarted(made.context.id);
    } catch {
      if (!controller.signal.aborted) setAttempted({ text, key, hasFailed: true });
    }
  };
  return (
    <section className="conversation" aria-label="New chat">
      <header className="head only-narrow">
        <button type="button" className="button-icon" aria-label="Chats" onClick={onMenu}>
          <Icon name="menu" />
        </button>
        <div className="head-title">
          <h2>New chat</h2>
        </div>
      </header>
      {attempted === null ? (
        <div className="blank">
          <Mark />
          <h2>What is on your mind?</h2>
          <p>The chat lives on the server: close the tab in mid-reply, and it goes on.</p>
        </div>
      ) : (
        <div className="scroller">
          <ol className="messages column">
            <li
              className="message"
              data-role="user"
              data-status={attempted.hasFailed ? "failed-to-send" : "sending"}
            >
              <div className="said">
                <p className="plain" dir="auto">
                  {attempted.text}
                </p>
              </div>
              {attempted.hasFailed ? (
                <p className="message-state" data-kind="bad" role="alert">
                  {SEND_FAILED}
                  <button
                    type="button"
                    className="link"
                    onClick={() => void start(attempted.text, attempted.key)}
                  >
                    Retry
                  </button>
                  <button
                    type="button"
                    className="link"
                    onClick={() => {
                      keepDraft(attempted.text);
                      setAttempted(null);
                    }}
                  >
                    Edit
                  </button>
                </p>
              ) : (
                <p className="message-state">Sending…</p>
              )}
            </li>
          </ol>
        </div>
      )}
      <div className="under">
        <Composer
          key={attempted === null ? "free" : "sent"}
          chatId="new"
          isBusy={false}
          defaultPolicy="enqueue"
          onStop={() => undefined}
          onSend={async (text) => {
            await start(text, crypto.randomUUID());
            return true; // what has failed is shown, to be edited there
          }}
        />
      </div>
    </section>
  );
}

/** The first line, as far as a title goes; never half of a character. */
function titleFor(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return Array.from(line).slice(0, TITLE_CHARS_MAX).join("");
}
