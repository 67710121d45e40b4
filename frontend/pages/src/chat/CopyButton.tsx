/** Copies text, and says for a moment that it did. */

import { useEffect, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";

const SAID_MS = 1_500;

export function CopyButton({
  text,
  what,
}: {
  readonly text: string;
  readonly what: string;
}): ReactNode {
  const [said, setSaid] = useState<"copied" | "failed" | null>(null);
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => {
      setSaid(null);
    }, SAID_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [said]);
  const label =
    said === "copied" ? "Copied" : said === "failed" ? "Could not copy" : `Copy ${what}`;
  return (
    <button
      type="button"
      className="button-icon button-small"
      title={label}
      aria-label={label}
      onClick={() => {
        copy(text).then(
          () => {
            setSaid("copied");
          },
          () => {
            setSaid("failed");
          },
        );
      }}
    >
      <Icon name={said === "copied" ? "check" : said === "failed" ? "close" : "copy"} />
    </button>
  );
}

/** Without https there is no clipboard but for loopback addresses. */
async function copy(text: string): Promise<void> {
  await navigator.clipboard.writeText(text);
}
