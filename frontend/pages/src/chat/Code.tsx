/** A block of code: its language, a button that copies it, and colours once they are loaded. */

import type { ElementContent, Root } from "hast";
import { Fragment, memo, useEffect, useState, type ReactNode } from "react";

import { CopyButton } from "./CopyButton.js";

const COLOURED_CHARS_MAX = 20_000;

interface CodeProps {
  readonly text: string;
  /** As it stands behind the fence; anything. */
  readonly language: string;
}

export const Code = memo(function Code({ text, language }: CodeProps): ReactNode {
  const name = language.trim().split(/\s/, 1)[0] ?? "";
  const coloured = useColours(text, name);
  return (
    <figure className="code">
      <figcaption>
        <span dir="auto">{name.slice(0, 24) || "text"}</span>
        <CopyButton text={text} what="code" />
      </figcaption>
      <pre tabIndex={0} aria-label="Code">
        <code>{coloured === null ? text : elements(coloured.children)}</code>
      </pre>
    </figure>
  );
});

function useColours(text: string, name: string): Root | null {
  const [found, setFound] = useState<{ readonly text: string; readonly tree: Root | null }>();
  useEffect(() => {
    if (name === "" || text.length > COLOURED_CHARS_MAX) return;
    let isWanted = true;
    void import("./colours.js").then(({ colours }) => {
      if (isWanted) setFound({ text, tree: colours(text, name) });
    });
    return () => {
      isWanted = false;
    };
  }, [text, name]);
  return found?.text === text ? found.tree : null;
}

function elements(children: readonly (ElementContent | Root["children"][number])[]): ReactNode {
  return children.map((child, index) => {
    if (child.type === "text") return <Fragment key={index}>{child.value}</Fragment>;
    if (child.type !== "element") return null;
    const names = child.properties.className;
    return (
      <span key={index} className={Array.isArray(names) ? names.join(" ") : undefined}>
        {elements(child.children)}
      </span>
    );
  });
}
