/** Where the keyboard is, when what had it goes away: a button that has decided, a form that shuts. */

import { useEffect, useRef, type RefObject } from "react";

/**
 * Keep the keyboard in a box: what was only moved has it again, after what has gone the composer.
 * Nobody who points is meant: pages do not move the keyboard of those.
 */
export function useKeptFocus(): RefObject<HTMLElement | null> {
  const box = useRef<HTMLElement>(null);
  const last = useRef<HTMLElement | null>(null);
  useEffect(() => {
    const note = ({ target }: FocusEvent): void => {
      const has = target instanceof HTMLElement && target.matches(":focus-visible");
      last.current = has && box.current?.contains(target) === true ? target : null;
    };
    const forget = (): void => {
      last.current = null;
    };
    const keep = (): void => {
      const had = last.current;
      const composer = document.getElementById("composer");
      const hasGone = had?.isConnected === false || had?.matches(":disabled") === true;
      const isNowhere = document.activeElement === document.body || hasGone;
      if (had === null || had === composer || !isNowhere || !document.hasFocus()) return;
      (hasGone ? composer : had)?.focus();
    };
    const observer = new MutationObserver(keep);
    if (box.current !== null) {
      observer.observe(box.current, {
        childList: true,
        subtree: true,
        attributeFilter: ["disabled"],
      });
    }
    addEventListener("focusin", note);
    addEventListener("pointerdown", forget);
    return () => {
      observer.disconnect();
      removeEventListener("focusin", note);
      removeEventListener("pointerdown", forget);
    };
  }, []);
  return box;
}
