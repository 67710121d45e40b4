/** Asks before a chat is deleted. */

import type { ReactNode } from "react";

import { Dialog } from "../common/Dialog.js";

interface DeleteDialogProps {
  readonly onClose: () => void;
  readonly onDelete: () => void;
  /** What will be gone. */
  readonly children: ReactNode;
}

export function DeleteDialog({ onClose, onDelete, children }: DeleteDialogProps): ReactNode {
  return (
    <Dialog
      title="Delete this chat?"
      onClose={onClose}
      onSubmit={onDelete}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button button-bad">
            Delete
          </button>
        </>
      }
    >
      <p dir="auto">{children}</p>
    </Dialog>
  );
}
