/** A chat in React: messages, the reply as it arrives, what could not be sent. */

import { useChat } from "@contextd/client/react";
import { useState, type FormEvent, type ReactNode } from "react";

export function ChatPage({ chatId }: { readonly chatId: string }): ReactNode {
  const { state, send, retrySend, cancel, approveTools } = useChat({ chatId });
  const [text, setText] = useState("");
  const { messages, status, connection, context } = state;

  function submit(event: FormEvent): void {
    event.preventDefault();
    void send(text);
    setText("");
  }

  return (
    <main>
      {connection === "offline" && <p role="status">Offline. Messages are sent later.</p>}
      {messages.map((message) => (
        <article key={message.id} data-status={message.status}>
          <p>{message.content}</p>
          {message.error !== null && (
            <button onClick={() => void retrySend(message.id)}>{message.error}</button>
          )}
        </article>
      ))}
      {context?.pending_tool_calls.map((call) => (
        <button key={call.id} onClick={() => void approveTools({ tool_call_ids: [call.id] })}>
          Run {call.name}
        </button>
      ))}
      {status === "streaming_llm_response" && <button onClick={() => void cancel()}>Stop</button>}
      <form onSubmit={submit}>
        <input
          aria-label="Message"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
          }}
        />
      </form>
    </main>
  );
}
