/** Where messages are written; while a reply is on its way, also what is to become of it. */

import type { SendMessage } from "@contextd/client";
import {
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
  type ReactNode,
  type Ref,
} from "react";

import { Icon } from "../common/Icon.js";
import { useDraft } from "./drafts.js";

export type SendPolicy = NonNullable<SendMessage["policy"]>;

export interface Writing {
  /** Put a text before what is written, to be gone on with. */
  readonly write: (text: string) => void;
}

interface ComposerProps {
  readonly ref?: Ref<Writing>;
  /** What is written is kept under this name until it is sent. */
  readonly chatId: string;
  readonly isBusy: boolean;
  readonly defaultPolicy: SendPolicy;
  readonly onStop: () => void;
  /**
   * The policy is null where the chat's own is to hold. False: the text was not taken, and is
   * given back.
   */
  readonly onSend: (text: string, policy: SendPolicy | null) => Promise<boolean>;
}

export const POLICIES: Readonly<Record<SendPolicy, string>> = {
  enqueue: "Waits for its end",
  interrupt: "Stops it",
  steer: "Joins it",
  merge: "Waits, joined with others",
  latest: "Waits, replaces others",
  rollback: "Drops it",
  reject: "Is refused",
};

const HEIGHT_PX_MAX = 240;
/** Elsewhere a keyboard comes up over the page with the focus. */
const HAS_POINTER = matchMedia("(hover: hover)").matches;

export function Composer({
  ref,
  chatId,
  isBusy,
  defaultPolicy,
  onStop,
  onSend,
}: ComposerProps): ReactNode {
  const [text, setText] = useDraft(chatId);
  const [policy, setPolicy] = useState<SendPolicy | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const isEmpty = text.trim() === "";
  useLayoutEffect(() => {
    const element = area.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, HEIGHT_PX_MAX).toString()}px`;
  }, [text]);
  const giveBack = (given: string): void => {
    const written = area.current?.value ?? ""; // meanwhile
    setText(written === "" ? given : `${given}\n${written}`);
  };
  useImperativeHandle(ref, () => ({
    write: (given) => {
      giveBack(given);
      area.current?.focus();
    },
  }));
  const send = async (): Promise<void> => {
    if (isEmpty) return;
    setText("");
    if (!(await onSend(text, isBusy ? policy : null))) giveBack(text);
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
        area.current?.focus();
      }}
    >
      <textarea
        ref={area}
        id="composer"
        dir="auto"
        rows={1}
        aria-label="Message"
        placeholder="Write a message"
        value={text}
        autoFocus={HAS_POINTER}
        onChange={(event) => {
          setText(event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          void send();
        }}
      />
      <div className="composer-acts">
        {isBusy && !isEmpty ? (
          <label className="policy">
            <span>During the reply</span>
            <select
              value={policy ?? defaultPolicy}
              onChange={(event) => {
                setPolicy(event.target.value as SendPolicy);
              }}
            >
              {Object.entries(POLICIES).map(([name, words]) => (
                <option key={name} value={name}>
                  {words}
                </option>
              ))}
            </select>
          </label>
        ) : (
          <span className="hint">
            <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> begins a new line
          </span>
        )}
        {isBusy ? (
          <button
            type="button"
            className="button-icon round"
            aria-label="Stop the reply"
            title="Stop (Esc)"
            onClick={() => {
              onStop();
              if (HAS_POINTER) area.current?.focus();
            }}
          >
            <Icon name="stop" />
          </button>
        ) : null}
        {isBusy && isEmpty ? null : (
          <button
            type="submit"
            className="button-icon round round-main"
            aria-label="Send"
            title="Send (Enter)"
            disabled={isEmpty}
          >
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}
