/** Another text in the place of one: of a message, or of one that waits. */

import { useEffect, useRef, useState, type ReactNode } from "react";

interface EditFormProps {
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly onClose: () => void;
}

const ROWS_MAX = 12;

export function EditForm({ text, onText, onClose }: EditFormProps): ReactNode {
  const [written, setWritten] = useState(text);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, [text.length]);
  const isReady = written.trim() !== "" && written !== text;
  return (
    <form
      className="edit"
      onSubmit={(event) => {
        event.preventDefault();
        if (isReady) onText(written);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") {
          event.preventDefault();
          onClose();
        }
        if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
          event.preventDefault();
          if (isReady) onText(written);
        }
      }}
    >
      <textarea
        ref={area}
        className="input"
        dir="auto"
        aria-label="New text"
        rows={Math.min(ROWS_MAX, written.split("\n").length + 1)}
        value={written}
        onChange={(event) => {
          setWritten(event.target.value);
        }}
      />
      <div className="dialog-foot">
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" className="button button-main" disabled={!isReady}>
          Save
        </button>
      </div>
    </form>
  );
}
