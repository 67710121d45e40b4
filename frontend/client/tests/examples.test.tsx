// @vitest-environment happy-dom
/** The examples do what they say. */

import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ChatPage } from "../examples/chat.js";
import { chatStore } from "../examples/zustand.js";
import type { Client } from "../src/index.js";
import { ContextdProvider } from "../src/react/index.js";
import { CHAT, FakeGateway, problem } from "./fake.js";

let gateway: FakeGateway;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  gateway = new FakeGateway();
  client = gateway.client();
});
afterEach(() => {
  client.dispose();
  vi.useRealTimers();
});

it("a Zustand store shows the chats that are open", async () => {
  gateway.say("One");
  const [store, open] = chatStore(client);
  const close = open(CHAT);
  expect(store.getState().chats[CHAT]?.messages).toEqual([]);
  await vi.advanceTimersByTimeAsync(0);
  expect(store.getState().chats[CHAT]?.messages).toMatchObject([{ content: "One" }]);
  expect(store).not.toHaveProperty("setState");
  close();
  expect(store.getState().chats).toEqual({});
});

it("a page in React shows a chat, and what could not be sent", async () => {
  const page = document.createElement("div");
  const root = createRoot(page);
  await act(async () => {
    root.render(
      <ContextdProvider client={client}>
        <ChatPage chatId={CHAT} />
      </ContextdProvider>,
    );
    await vi.advanceTimersByTimeAsync(0);
  });
  gateway.override = ({ method }) =>
    method === "POST" ? problem(500, "internal", "Oops.") : undefined;
  await act(async () => {
    page.querySelector("form")?.dispatchEvent(new Event("submit", { bubbles: true }));
    await vi.advanceTimersByTimeAsync(0);
  });
  const retry = page.querySelector("button");
  expect(retry?.textContent).toBe("Failed to send. Please try again.");
  gateway.override = () => undefined;
  await act(async () => {
    retry?.click();
    await vi.advanceTimersByTimeAsync(0);
  });
  expect(page.querySelector("article")?.dataset["status"]).toBe("complete");
  await act(() => {
    root.unmount();
    return Promise.resolve();
  });
});
