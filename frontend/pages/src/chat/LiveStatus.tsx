/** Tells those who listen what happens: that a reply is written and what it came to, not each word. */

import type { ChatState } from "@contextd/client";
import { useState, type ReactNode } from "react";

import { statusWords } from "./words.js";

const SPOKEN_CHARS_MAX = 400;

export function LiveStatus({ state }: { readonly state: ChatState }): ReactNode {
  const [told, setTold] = useState({ status: state.status, said: "" });
  if (told.status !== state.status) setTold({ status: state.status, said: sentence(state) });
  return (
    <p className="hidden-text" role="status">
      {told.said}
    </p>
  );
}

function sentence(state: ChatState): string {
  if (state.status === null) return "";
  if (state.status !== "idle") return statusWords(state.status);
  const last = state.messages.at(-1);
  return last?.role === "assistant" ? `Reply: ${last.content.slice(0, SPOKEN_CHARS_MAX)}` : "";
}
