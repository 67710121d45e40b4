/** Light, dark, or as the system has it. */

import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

/** The icon and the words for each. */
export const THEMES = {
  system: ["screen", "Colours: as the system"],
  light: ["sun", "Colours: light"],
  dark: ["moon", "Colours: dark"],
} as const;

const NAME = "contextd.theme";
const NEXT: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const listeners = new Set<() => void>();

export function applyTheme(): void {
  const theme = readTheme();
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

/** The theme, and what changes it to the next one. */
export function useTheme(): readonly [Theme, () => void] {
  const theme = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, readTheme);
  return [
    theme,
    () => {
      keepTheme(NEXT[theme]);
    },
  ];
}

function readTheme(): Theme {
  const kept = localStorage.getItem(NAME);
  return kept === "light" || kept === "dark" ? kept : "system";
}

function keepTheme(theme: Theme): void {
  localStorage.setItem(NAME, theme);
  applyTheme();
  for (const listener of listeners) listener();
}
