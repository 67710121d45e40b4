/** What a message holds besides its text. Nothing is loaded but what the message itself brings. */

import type { MessageView } from "@contextd/client";
import type { ReactNode } from "react";

import { safeAddress } from "./addresses.js";

const CARRIED = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/;

export function Parts({ parts }: { readonly parts: MessageView["parts"] }): ReactNode {
  const others = parts.filter((part) => part["type"] !== "text" || part["name"] !== undefined);
  if (others.length === 0) return null;
  return (
    <ul className="parts">
      {others.map((part, index) => (
        <li key={index}>
          <Part part={part} />
        </li>
      ))}
    </ul>
  );
}

function Part({ part }: { readonly part: MessageView["parts"][number] }): ReactNode {
  const nested = part["image_url"];
  const inside =
    typeof nested === "object" && nested !== null && "url" in nested ? nested.url : nested;
  const address = typeof inside === "string" ? inside : part["url"];
  const name = typeof part["name"] === "string" ? part["name"] : String(part["type"]);
  if (typeof address === "string" && CARRIED.test(address))
    return <img src={address} alt={name} />;
  const href = typeof address === "string" ? safeAddress(address) : null;
  if (href === null) return <span dir="auto">{name}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow" dir="auto">
      {name}
    </a>
  );
}
