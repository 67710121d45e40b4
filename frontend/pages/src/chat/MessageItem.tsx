/** One message: its text, the tools it asked for, its other versions, and what may be done with it. */

import type { BackendContextService, ChatMessage, Outbox } from "@contextd/client";
import { memo, useState, type ReactNode } from "react";

import { Boundary } from "../common/Boundary.js";
import { Icon } from "../common/Icon.js";
import { CopyButton } from "./CopyButton.js";
import { EditForm } from "./EditForm.js";
import { Markdown } from "./Markdown.js";
import type { Results } from "./MessageList.js";
import { useNotices } from "./notices.js";
import { Parts } from "./Parts.js";
import { ToolCalls } from "./ToolCalls.js";
import { notSent, shortTime, wholeTime } from "./words.js";

interface MessageItemProps {
  readonly message: ChatMessage;
  readonly results: Results;
  /** Ids of all versions of it, this one included; none, if there is one only. */
  readonly siblings: readonly string[];
  readonly chatId: string;
  readonly service: BackendContextService;
  readonly onRetry: Outbox["retry"];
  /** Take the text of a message that was not sent, to be written anew. */
  readonly onEdit: (text: string) => void;
  readonly onDiscard: Outbox["discard"];
}

const WHO = { user: "You", assistant: "Assistant", system: "System", tool: "Tool" } as const;
const ENDED: Readonly<Record<string, string>> = {
  cancelled: "Stopped",
  interrupted: "Interrupted",
  failed: "Failed",
};

export const MessageItem = memo(function MessageItem(props: MessageItemProps): ReactNode {
  const { message, results, chatId, service } = props;
  const [isEditing, setIsEditing] = useState(false);
  const { attempt } = useNotices();
  const isUser = message.role === "user";
  const calls = message.message?.tool_calls ?? [];
  if (isEditing) {
    return (
      <li className="message" data-role="user">
        <EditForm
          text={message.content}
          onClose={() => {
            setIsEditing(false);
          }}
          onText={(content) => {
            setIsEditing(false);
            void attempt(service.editMessage(chatId, { message_id: message.id, content }));
          }}
        />
      </li>
    );
  }
  return (
    <li
      className="message"
      data-role={message.role}
      data-status={message.status}
      data-message={message.id}
    >
      <h3 className="hidden-text">{WHO[message.role]}</h3>
      {message.content === "" && calls.length > 0 ? null : (
        <div className="said">
          <Content message={message} />
          <Parts parts={message.message?.parts ?? []} />
        </div>
      )}
      {calls.length > 0 ? <ToolCalls calls={calls} results={results} /> : null}
      <MessageState {...props} />
      {message.message === null || message.content === "" ? null : (
        <div className="message-tools">
          <Versions {...props} />
          <CopyButton text={message.content} what="message" />
          {isUser ? (
            <button
              type="button"
              className="button-icon button-small"
              aria-label="Edit"
              title="Edit"
              onClick={() => {
                setIsEditing(true);
              }}
            >
              <Icon name="edit" />
            </button>
          ) : null}
          {message.role === "assistant" ? (
            <button
              type="button"
              className="button-icon button-small"
              aria-label="Regenerate"
              title="Another reply"
              onClick={() =>
                void attempt(service.regenerate(chatId, { message_id: message.id }))
              }
            >
              <Icon name="retry" />
            </button>
          ) : null}
          <time dateTime={message.createdAt} title={wholeTime(message.createdAt)}>
            {shortTime(message.createdAt)}
          </time>
        </div>
      )}
    </li>
  );
});

/** Replies are Markdown; what people say is shown as they have written it. */
function Content({ message }: Pick<MessageItemProps, "message">): ReactNode {
  const plain = (
    <p className="plain" dir="auto">
      {message.content}
    </p>
  );
  if (message.role !== "assistant") return plain;
  return (
    <Boundary instead={plain}>
      <Markdown text={message.content} />
    </Boundary>
  );
}

function Versions({ message, siblings, chatId, service }: MessageItemProps): ReactNode {
  const { attempt } = useNotices();
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(message.id);
  const turn = (step: number): void => {
    const id = siblings[at + step];
    if (id !== undefined) void attempt(service.switchBranch(chatId, { message_id: id }));
  };
  return (
    <span className="versions" role="group" aria-label="Versions">
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Previous version"
        disabled={at <= 0}
        onClick={() => {
          turn(-1);
        }}
      >
        <Icon name="left" />
      </button>
      <span>
        {at + 1}/{siblings.length}
      </span>
      <button
        type="button"
        className="button-icon button-small"
        aria-label="Next version"
        disabled={at >= siblings.length - 1}
        onClick={() => {
          turn(1);
        }}
      >
        <Icon name="right" />
      </button>
    </span>
  );
}

function MessageState({ message, onRetry, onEdit, onDiscard }: MessageItemProps): ReactNode {
  if (message.status === "sending") return <p className="message-state">Sending…</p>;
  if (message.status === "failed-to-send") {
    const id = message.clientMessageId ?? message.id;
    return (
      <p className="message-state" data-kind="bad" role="alert">
        {notSent(message.reason)}
        <button type="button" className="link" onClick={() => void onRetry(id)}>
          Retry
        </button>
        <button
          type="button"
          className="link"
          onClick={() => {
            onEdit(message.content);
            void onDiscard(id);
          }}
        >
          Edit
        </button>
        <button type="button" className="link" onClick={() => void onDiscard(id)}>
          Discard
        </button>
      </p>
    );
  }
  if (message.status === "streaming") return <i className="caret" aria-hidden="true" />;
  const ended = ENDED[message.status];
  return ended === undefined ? null : <p className="message-state">{ended}</p>;
}
