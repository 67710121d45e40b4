/**
 * Where the messages are scrolled to: at the end for as long as the person is there, else
 * exactly where the person is, whatever arrives.
 */

import {
  useCallback,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
  type RefObject,
} from "react";

const NEAR_PX = 24;

export interface Scrolling {
  readonly box: RefObject<HTMLDivElement | null>;
  readonly content: RefObject<HTMLDivElement | null>;
  readonly isAtEnd: boolean;
  /** Messages that have come since the end was left. */
  readonly unseen: number;
  readonly toEnd: () => void;
}

export function useScrolling(count: number): Scrolling {
  const box = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const isStuck = useRef(true);
  const lastTop = useRef(0);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const [seen, setSeen] = useState(count);

  const stick = useCallback(() => {
    const element = box.current;
    if (element === null || !isStuck.current) return;
    element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop;
  }, []);
  const toEnd = useCallback(() => {
    isStuck.current = true;
    setIsAtEnd(true);
    stick();
  }, [stick]);

  useLayoutEffect(stick);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const below = (): number => element.scrollHeight - element.scrollTop - element.clientHeight;
    const follow = (): void => {
      if (below() <= NEAR_PX && element.scrollTop >= lastTop.current) isStuck.current = true;
      else if (element.scrollTop < lastTop.current && below() > 2) isStuck.current = false;
      lastTop.current = element.scrollTop;
      setIsAtEnd(isStuck.current);
    };
    element.addEventListener("scroll", follow, { passive: true });
    const observer = new ResizeObserver(() => {
      // What has become shorter may end where the person is.
      if (below() <= 2) toEnd();
      else stick();
    });
    observer.observe(element);
    if (content.current !== null) observer.observe(content.current);
    return () => {
      element.removeEventListener("scroll", follow);
      observer.disconnect();
    };
  }, [stick, toEnd]);
  if (isAtEnd && seen !== count) setSeen(count);
  return { box, content, isAtEnd, unseen: isAtEnd ? 0 : Math.max(0, count - seen), toEnd };
}
