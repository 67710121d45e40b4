/** Keys that work everywhere on the page. */

import { useEffect, useRef } from "react";

export interface Shortcuts {
  readonly newChat: () => void;
  readonly search: () => void;
  readonly next: () => void;
  readonly previous: () => void;
  readonly help: () => void;
}

export const IS_MAC = /Mac|iPhone|iPad/.test(navigator.userAgent);
export const MOD = IS_MAC ? "⌘" : "Ctrl";

/** What the help sheet shows. */
export const LISTED: readonly (readonly [readonly string[], string])[] = [
  [[MOD, "K"], "Search the chats"],
  [["Alt", "N"], "New chat"],
  [["Alt", "↓"], "Next chat"],
  [["Alt", "↑"], "Previous chat"],
  [["/"], "Write a message"],
  [["Enter"], "Send it"],
  [["Shift", "Enter"], "New line"],
  [["Esc"], "Stop the reply, or close what is open"],
  [["?"], "This sheet"],
];

export function useShortcuts(shortcuts: Shortcuts): void {
  const latest = useRef(shortcuts);
  useEffect(() => {
    latest.current = shortcuts;
  });
  useEffect(() => {
    const obey = (event: KeyboardEvent): void => {
      if (document.querySelector("dialog[open]") !== null) return;
      const act = meant(event, latest.current);
      if (act === null) return;
      event.preventDefault();
      act();
    };
    addEventListener("keydown", obey);
    return () => {
      removeEventListener("keydown", obey);
    };
  }, []);
}

function meant(event: KeyboardEvent, shortcuts: Shortcuts): (() => void) | null {
  const mod = IS_MAC ? event.metaKey : event.ctrlKey;
  if (mod && event.code === "KeyK") return shortcuts.search;
  if (event.altKey && !mod) {
    if (event.code === "KeyN") return shortcuts.newChat;
    if (event.code === "ArrowDown") return shortcuts.next;
    if (event.code === "ArrowUp") return shortcuts.previous;
  }
  if (event.altKey || event.ctrlKey || event.metaKey || isWriting(event.target)) return null;
  if (event.key === "?") return shortcuts.help;
  if (event.key === "/") return () => document.getElementById("composer")?.focus();
  return null;
}

function isWriting(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.matches("input, textarea, select, [contenteditable]")
  );
}
