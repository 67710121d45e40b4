/** A modal dialog: the browser keeps the focus in it, and gives it back. */

import { useEffect, useRef, type ReactNode } from "react";

import { Icon } from "./Icon.js";

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
  /** Of the buttons; the first of them that submits does so. */
  readonly foot?: ReactNode;
  readonly onSubmit?: () => void;
}

export function Dialog({ title, onClose, children, foot, onSubmit }: DialogProps): ReactNode {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    // The browser would take the first button, which shuts it.
    dialog?.querySelector<HTMLElement>("input, select, textarea")?.focus();
    return () => {
      dialog?.close();
    };
  }, []);
  return (
    <dialog
      ref={element}
      className="dialog"
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit?.();
        }}
      >
        <div className="dialog-head">
          <h2 id="dialog-title">{title}</h2>
          <button
            type="button"
            className="button-icon button-small"
            aria-label="Close"
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </div>
        {children}
        {foot === undefined ? null : <div className="dialog-foot">{foot}</div>}
      </form>
    </dialog>
  );
}
