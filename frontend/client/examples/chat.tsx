/** A chat in React: messages, the reply as it arrives, what could not be sent. */

import { useChat } from "@contextd/client/react";
import { useState, type ReactNode, type SyntheticEvent } from "react";

export function ChatPage({ chatId }: { readonly chatId: string }): ReactNode {
  const { state, send, retrySend, discardSend, cancel, approveTools } = useChat({ chatId });
  const [text, setText] = useState("");
  const [refusal, setRefusal] = useState("");
  const { messages, status, connection, context } = state;

  /** What is refused is told: another tab may have stopped or approved it a moment before. */
  function act(acting: Promise<unknown>): void {
    setRefusal("");
    acting.catch((error: unknown) => {
      setRefusal(String(error));
    });
  }

  function submit(event: SyntheticEvent): void {
    event.preventDefault();
    if (text.trim() === "") return;
    act(send(text));
    setText("");
  }

  return (
    <main>
      {connection === "offline" && <p role="status">Offline. Messages are sent later.</p>}
      {refusal !== "" && <p role="alert">{refusal}</p>}
      {messages.map((message) => (
        <article key={message.id} data-status={message.status}>
          <p>{message.content}</p>
          {message.error !== null && (
            <p>
              {message.error}
              <button
                onClick={() => {
                  act(retrySend(message.id));
                }}
              >
                Try again
              </button>
              <button
                onClick={() => {
                  act(discardSend(message.id));
                }}
              >
                Discard
              </button>
            </p>
          )}
        </article>
      ))}
      {context?.pending_tool_calls.map((call) => (
        <button
          key={call.id}
          onClick={() => {
            act(approveTools({ tool_call_ids: [call.id] }));
          }}
        >
          Run {call.name}
        </button>
      ))}
      {status === "streaming_llm_response" && (
        <button
          onClick={() => {
            act(cancel());
          }}
        >
          Stop
        </button>
      )}
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
