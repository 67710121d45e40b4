/** The icons, as paths on a grid of 24: nothing is loaded for them. */

import type { ReactNode } from "react";

const PATHS = {
  branch:
    "M6 4v10M6 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM18 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm0 0c0 5-5 6-10 7",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  down: "m6 9.5 6 6 6-6",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M17 10h.01M8 14h8",
  leave: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  left: "m14.5 6-6 6 6 6",
  menu: "M4 7h16M4 12h16M4 17h16",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  offline:
    "m3 3 18 18M8.5 12.5a6 6 0 0 1 2-1.2M5 9a11 11 0 0 1 3-1.9M12 6c2.7 0 5.2 1 7 3M15.5 12.5l.3.3M12 18h.01",
  pause: "M8 5v14M16 5v14",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  play: "M7 5v14l12-7z",
  plus: "M12 5v14M5 12h14",
  retry: "M19 12a7 7 0 1 1-2-4.9L19 9M19 4v5h-5",
  right: "m9.5 6 6 6-6 6",
  screen: "M4 5h16v11H4zM9 20h6M12 16v4",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm9 2-4-4",
  send: "M12 19V5M6 11l6-6 6 6",
  settings:
    "M4 7h9M17 7h3M4 17h3M11 17h9M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  stop: "M8 8h8v8H8z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4",
  tool: "M14.5 6.5a4 4 0 0 1 5-1l-2.8 2.8 1 2 2 1L22 8.5M14.5 6.5a4 4 0 0 0 .5 4.5L5 20.5 3.5 19 13 9.5a4 4 0 0 1 1.5-3",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  up: "m6 14.5 6-6 6 6",
  warn: "M12 4 2.5 20h19zM12 10v4M12 17h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }): ReactNode {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
