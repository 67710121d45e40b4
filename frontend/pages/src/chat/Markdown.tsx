/**
 * Markdown as React elements. No HTML is ever made of text: what is not understood is shown
 * as it was written, raw HTML included. Nothing is loaded: images are links.
 */

import { lexer, type MarkedToken, type Token, type Tokens } from "marked";
import { Fragment, memo, type ReactNode } from "react";

import { Code } from "./Code.js";
import { withEntities } from "./entities.js";
import { safeAddress } from "./addresses.js";
import "./markdown.css";

/** Of tokens in tokens; what lies deeper is shown as it was written. */
const DEPTH_MAX = 24;

export const Markdown = memo(function Markdown({ text }: { readonly text: string }): ReactNode {
  return (
    <div className="markdown" dir="auto">
      {blocks(text).map((token, index) => (
        <Block key={index} token={token} raw={token.raw} />
      ))}
    </div>
  );
});

function blocks(text: string): readonly Token[] {
  try {
    return lexer(text, { gfm: true });
  } catch {
    // Nested so deeply that the parser has given up.
    return [{ type: "text", raw: text, text, escaped: false }];
  }
}

interface BlockProps {
  readonly token: Token;
  readonly raw: string;
}

/** A reply grows at its end: the blocks before that are the same text, and stay. */
const Block = memo(
  function Block({ token }: BlockProps): ReactNode {
    return block(token, 0);
  },
  (before, after) => before.raw === after.raw && before.token.type === after.token.type,
);

function block(token: Token, depth: number): ReactNode {
  const known = token as MarkedToken;
  if (depth > DEPTH_MAX) return <p>{token.raw}</p>;
  switch (known.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return <Heading depth={known.depth}>{inlines(known.tokens, depth)}</Heading>;
    case "paragraph":
      return <p>{inlines(known.tokens, depth)}</p>;
    case "code":
      return <Code text={known.text} language={known.lang ?? ""} />;
    case "blockquote":
      return <blockquote>{blocksIn(known.tokens, depth)}</blockquote>;
    case "list":
      return list(known, depth);
    case "table":
      return table(known, depth);
    case "hr":
      return <hr />;
    case "text":
      return known.tokens === undefined
        ? withEntities(known.text)
        : inlines(known.tokens, depth);
    default:
      return <p>{token.raw}</p>;
  }
}

function blocksIn(tokens: readonly Token[] | undefined, depth: number): ReactNode {
  return (tokens ?? []).map((token, index) => (
    <Fragment key={index}>{block(token, depth + 1)}</Fragment>
  ));
}

/** A reply's headings stand below the page's own two. */
function Heading({
  depth,
  children,
}: {
  readonly depth: number;
  readonly children: ReactNode;
}): ReactNode {
  const Tag = (["h3", "h4", "h5", "h6", "h6", "h6"] as const)[depth - 1] ?? "h6";
  return <Tag>{children}</Tag>;
}

function list(token: Tokens.List, depth: number): ReactNode {
  const items = token.items.map((item, index) => (
    <li key={index} className={item.task ? "task" : undefined}>
      {item.task ? (
        <input
          type="checkbox"
          checked={item.checked === true}
          disabled
          readOnly
          aria-label="Done"
        />
      ) : null}
      {blocksIn(
        item.tokens.filter((each) => each.type !== "checkbox"),
        depth,
      )}
    </li>
  ));
  return token.ordered ? (
    <ol start={token.start === "" ? 1 : token.start}>{items}</ol>
  ) : (
    <ul>{items}</ul>
  );
}

function table(token: Tokens.Table, depth: number): ReactNode {
  const cell = (each: Tokens.TableCell, index: number): ReactNode => {
    const Tag = each.header ? "th" : "td";
    return (
      <Tag key={index} className={each.align === null ? undefined : `to-${each.align}`}>
        {inlines(each.tokens, depth)}
      </Tag>
    );
  };
  return (
    <div className="table" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>{token.header.map(cell)}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, index) => (
            <tr key={index}>{row.map(cell)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inlines(tokens: readonly Token[] | undefined, depth: number): ReactNode {
  return (tokens ?? []).map((token, index) => (
    <Fragment key={index}>{inline(token, depth + 1)}</Fragment>
  ));
}

function inline(token: Token, depth: number): ReactNode {
  const known = token as MarkedToken;
  if (depth > DEPTH_MAX) return token.raw;
  switch (known.type) {
    case "strong":
      return <strong>{inlines(known.tokens, depth)}</strong>;
    case "em":
      return <em>{inlines(known.tokens, depth)}</em>;
    case "del":
      return <del>{inlines(known.tokens, depth)}</del>;
    case "codespan":
      return <code>{known.text}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link address={known.href}>{inlines(known.tokens, depth)}</Link>;
    case "image":
      return <Link address={known.href}>{withEntities(known.text) || known.href}</Link>;
    case "escape":
      return known.text;
    case "text":
      return known.tokens === undefined
        ? withEntities(known.text)
        : inlines(known.tokens, depth);
    default:
      return token.raw;
  }
}

function Link({
  address,
  children,
}: {
  readonly address: string;
  readonly children: ReactNode;
}): ReactNode {
  const href = safeAddress(address);
  if (href === null) return <span className="no-link">{children}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
