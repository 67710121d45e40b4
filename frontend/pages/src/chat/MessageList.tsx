/** What was said, in order; the results of tools stand with the calls that asked for them. */

import type { BackendContextService, ChatMessage, MessageView } from "@contextd/client";
import type { Chat } from "@contextd/client/react";
import { useMemo, type ReactNode } from "react";

import { MessageItem } from "./MessageItem.js";
import { statusWords } from "./words.js";
import "./messages.css";

interface MessageListProps {
  readonly service: BackendContextService;
  readonly chat: Chat;
  readonly onEdit: (text: string) => void;
}

const NOBODY: readonly string[] = [];

export function MessageList({ service, chat, onEdit }: MessageListProps): ReactNode {
  const { state } = chat;
  const { context, messages, status } = state;
  const results = useMemo(() => resultsOf(messages), [messages]);
  const shown = messages.filter((message) => !isResult(message, results));
  const isThinking =
    status === "awaiting_llm_response" ||
    status === "preparing_request" ||
    status === "executing_tools";
  if (context === null && shown.length === 0)
    return <Bones isOffline={state.connection === "offline"} />;
  return (
    <>
      {shown.length === 0 ? <p className="nothing">Nothing was said here yet.</p> : null}
      <ol className="messages">
        {shown.map((message) => (
          <MessageItem
            key={message.clientMessageId ?? message.id}
            message={message}
            results={results}
            siblings={context?.alternatives[message.id] ?? NOBODY}
            chatId={state.chatId}
            service={service}
            onRetry={chat.retrySend}
            onEdit={onEdit}
            onDiscard={chat.discardSend}
          />
        ))}
      </ol>
      {isThinking ? (
        <p className="thinking" aria-hidden="true">
          <i />
          <i />
          <i />
          <span>{statusWords(status)}</span>
        </p>
      ) : null}
    </>
  );
}

export type Results = ReadonlyMap<string, MessageView>;

function resultsOf(messages: readonly ChatMessage[]): Results {
  const asked = new Set(
    messages.flatMap(({ message }) => message?.tool_calls.map((call) => call.id) ?? []),
  );
  return new Map(
    messages.flatMap(({ message }) =>
      message?.role === "tool" &&
      message.tool_call_id !== null &&
      asked.has(message.tool_call_id)
        ? [[message.tool_call_id, message]]
        : [],
    ),
  );
}

function isResult({ message }: ChatMessage, results: Results): boolean {
  return message?.tool_call_id != null && results.has(message.tool_call_id);
}

function Bones({ isOffline }: { readonly isOffline: boolean }): ReactNode {
  if (isOffline) return <p className="nothing">This chat is shown once contextd answers.</p>;
  return (
    <div className="bones" aria-busy="true" aria-label="The chat is being loaded">
      <i />
      <i />
      <i />
    </div>
  );
}
