/** A new chat: it is made with its first message, in one step. */

import { Problem, type BackendContextService } from "@contextd/client";
import { useRef, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { Mark } from "../common/SignIn.js";
import { Composer } from "./Composer.js";
import { useDraft } from "./drafts.js";
import { useScrolling } from "./scrolling.js";
import { notSent } from "./words.js";
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
  /** Why it was not sent, in words; null: it may be, yet. */
  readonly trouble: string | null;
}

export function StartChat({ service, onMenu, onStarted }: StartChatProps): ReactNode {
  const [attempted, setAttempted] = useState<Attempted | null>(null);
  const under = useRef<AbortController | null>(null);
  const [, keepDraft] = useDraft("new");
  const start = async (text: string, key: string): Promise<void> => {
    under.current?.abort();
    const controller = new AbortController();
    under.current = controller;
    setAttempted({ text, key, trouble: null });
    try {
      const made = await service.createChat(
        { title: titleFor(text), message: { content: text, client_message_id: key } },
        { idempotencyKey: key, signal: controller.signal },
      );
      onStarted(made.context.id);
    } catch (error) {
      const trouble = notSent(error instanceof Problem ? error.type : null);
      if (!controller.signal.aborted) setAttempted({ text, key, trouble });
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
        <Sent
          attempted={attempted}
          onRetry={() => void start(attempted.text, attempted.key)}
          onEdit={() => {
            keepDraft(attempted.text);
            setAttempted(null);
          }}
        />
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

interface SentProps {
  readonly attempted: Attempted;
  readonly onRetry: () => void;
  readonly onEdit: () => void;
}

/** The message as it is sent; its end is seen, where it is said that it was not. */
function Sent({ attempted: { text, trouble }, onRetry, onEdit }: SentProps): ReactNode {
  const { box, content } = useScrolling(1);
  return (
    <div className="scroller" ref={box} tabIndex={0} role="region" aria-label="Messages">
      <div className="column" ref={content}>
        <ol className="messages">
          <li
            className="message"
            data-role="user"
            data-status={trouble === null ? "sending" : "failed-to-send"}
          >
            <div className="said">
              <p className="plain" dir="auto">
                {text}
              </p>
            </div>
            {trouble === null ? (
              <p className="message-state">Sending…</p>
            ) : (
              <p className="message-state" data-kind="bad" role="alert">
                {trouble}
                <button type="button" className="link" onClick={onRetry}>
                  Retry
                </button>
                <button type="button" className="link" onClick={onEdit}>
                  Edit
                </button>
              </p>
            )}
          </li>
        </ol>
      </div>
    </div>
  );
}

/** The first line, as far as a title goes; never half of a character. */
function titleFor(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return Array.from(line).slice(0, TITLE_CHARS_MAX).join("");
}
