/** A chat: what was said, what waits for the person, and where to write. */

import { Problem } from "@contextd/client";
import { useChat, useClient } from "@contextd/client/react";
import { useCallback, useEffect, useMemo, useRef, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { MenuButton } from "./MenuButton.js";
import { ApprovalPanel } from "./ApprovalPanel.js";
import { Composer, type Writing } from "./Composer.js";
import { ConnectionBar } from "./ConnectionBar.js";
import { ConversationHead } from "./ConversationHead.js";
import { FailurePanel } from "./FailurePanel.js";
import { useKeptFocus } from "./focus.js";
import { LiveStatus } from "./LiveStatus.js";
import { MessageList } from "./MessageList.js";
import { useNotices } from "./notices.js";
import { QuestionPanel } from "./QuestionPanel.js";
import { QueuePanel } from "./QueuePanel.js";
import { useScrolling } from "./scrolling.js";
import { chosenTransport } from "./transport.js";
import { UnreadableChat } from "./Unreadable.js";
import { isAtWork, isRunning, titleOf } from "./words.js";
import "./conversation.css";

interface ConversationProps {
  readonly chatId: string;
  readonly onMenu: () => void;
  /** Something may look other in the list now. */
  readonly onChanged: (chatId: string) => void;
  readonly onSeen: (chatId: string, version: number) => void;
  readonly onGone: () => void;
}

export function Conversation({ chatId, ...props }: ConversationProps): ReactNode {
  const { service } = useClient();
  const chat = useChat({ chatId, transport: chosenTransport() });
  const { state } = chat;
  const { context, status } = state;
  const { attempt } = useNotices();
  const spoken = state.messages.filter(
    ({ role }) => role === "user" || role === "assistant",
  ).length;
  const { box, content, isAtEnd, unseen, toEnd } = useScrolling(spoken);
  const keyboard = useKeptFocus();
  const composer = useRef<Writing>(null);
  const write = useCallback((text: string) => composer.current?.write(text), []);
  const version = context?.version ?? 0;
  const title = context?.title;
  const { onSeen, onChanged } = props;
  useEffect(() => {
    const mark = (): void => {
      if (!document.hidden) onSeen(chatId, version);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => {
      document.removeEventListener("visibilitychange", mark);
    };
  }, [chatId, version, onSeen]);
  useEffect(() => {
    onChanged(chatId);
  }, [chatId, onChanged, status, title]);
  const { error } = state;
  const isUnreadable = error instanceof Problem && error.isUnreadable;
  const isLost = isUnreadable && context === null;
  const shownTitle = isLost ? "Cannot be opened" : titleOf(context);
  useEffect(() => {
    document.title = `${shownTitle} · contextd`;
    return () => {
      document.title = "contextd";
    };
  }, [shownTitle]);

  const stop = useMemo(
    () => (): void => void attempt(service.cancel(chatId)),
    [attempt, service, chatId],
  );
  const isBusy = isAtWork(status);
  const goesOn = isRunning(status);
  useEffect(() => {
    if (!goesOn) return;
    const obey = (event: KeyboardEvent): void => {
      const isElsewhere =
        document.querySelector("dialog[open], [role=menu], [data-list=open]") !== null;
      if (event.key === "Escape" && !event.defaultPrevented && !isElsewhere) stop();
    };
    addEventListener("keydown", obey);
    return () => {
      removeEventListener("keydown", obey);
    };
  }, [goesOn, stop]);

  if (state.isGone) return <Gone onMenu={props.onMenu} onGone={props.onGone} />;
  if (isLost) {
    return (
      <UnreadableChat
        onMenu={props.onMenu}
        onDelete={() => {
          props.onGone();
          void attempt(service.deleteChat(chatId)).then(() => {
            onChanged(chatId);
          });
        }}
      />
    );
  }
  return (
    <section
      ref={keyboard}
      className="conversation"
      aria-label="Chat"
      data-status={status ?? "unknown"}
      data-connection={state.connection}
    >
      <ConversationHead service={service} chatId={chatId} state={state} onMenu={props.onMenu} />
      <ConnectionBar state={state} isUnreadable={isUnreadable} />
      <div className="scroller" ref={box} tabIndex={0} role="region" aria-label="Messages">
        <div className="column" ref={content}>
          <MessageList service={service} chat={chat} onEdit={write} />
          {context === null ? null : <FailurePanel service={service} context={context} />}
        </div>
      </div>
      <div className="under">
        {isAtEnd ? null : (
          <button type="button" className="to-end" onClick={toEnd}>
            <Icon name="down" />
            {unseen > 0 ? <span className="count">{unseen} new</span> : <span>Newest</span>}
            <span className="hidden-text">, jump to newest</span>
          </button>
        )}
        {context === null ? null : (
          <div className="column panels">
            <ApprovalPanel service={service} context={context} />
            <QuestionPanel service={service} context={context} />
            <QueuePanel service={service} context={context} />
          </div>
        )}
        <Composer
          ref={composer}
          chatId={chatId}
          isBusy={isBusy}
          defaultPolicy={context?.config.send_policy ?? "enqueue"}
          onStop={stop}
          onSend={async (text, policy) => {
            toEnd();
            const id = await attempt(chat.send(text, policy === null ? {} : { policy }));
            return id !== undefined;
          }}
        />
      </div>
      <LiveStatus state={state} />
    </section>
  );
}

function Gone({
  onMenu,
  onGone,
}: {
  readonly onMenu: () => void;
  readonly onGone: () => void;
}): ReactNode {
  return (
    <div className="blank">
      <MenuButton onMenu={onMenu} />
      <h2>This chat is not there</h2>
      <p>It was deleted, or it never was.</p>
      <button type="button" className="button button-main" onClick={onGone}>
        New chat
      </button>
    </div>
  );
}
