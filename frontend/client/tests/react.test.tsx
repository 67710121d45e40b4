// @vitest-environment happy-dom
/** The hooks: in step with the store, opened and closed with the component, StrictMode or not. */

import { act, Activity, StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client } from "../src/index.js";
import {
  ContextdProvider,
  useChat,
  useChatStateSync,
  type Chat,
  type ChatStateSyncOptions,
} from "../src/react/index.js";
import { CHAT, EMPTY, FakeGateway } from "./fake.js";

let gateway: FakeGateway;
let client: Client;
let root: Root;
let page: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  gateway = new FakeGateway();
  client = gateway.client();
  page = document.createElement("main");
  root = createRoot(page);
});
afterEach(async () => {
  await act(() => {
    root.unmount();
    return Promise.resolve();
  });
  client.dispose();
  vi.useRealTimers();
});

const seconds = (count: number): Promise<void> =>
  act(async () => {
    await vi.advanceTimersByTimeAsync(count * 1_000);
  });
const draw = (node: ReactNode): Promise<void> =>
  act(() => {
    root.render(<ContextdProvider client={client}>{node}</ContextdProvider>);
    return Promise.resolve();
  });

function Messages(options: ChatStateSyncOptions): ReactNode {
  const { messages } = useChatStateSync({ transport: "poll", ...options });
  return messages.map(({ id, content }) => <p key={id}>{content}</p>);
}

describe("useChatStateSync", () => {
  it("shows the chat and what changes in it", async () => {
    gateway.say("One");
    await draw(<Messages chatId={CHAT} />);
    await seconds(0);
    expect(page.textContent).toBe("One");
    gateway.say(" Two");
    await seconds(1);
    expect(page.textContent).toBe("One Two");
  });

  it("asks once, though StrictMode does everything twice", async () => {
    await draw(
      <StrictMode>
        <Messages chatId={CHAT} />
      </StrictMode>,
    );
    await seconds(10);
    const gaps = gateway.gaps("/state");
    expect(gaps.filter((gap) => gap >= 1)).toHaveLength(10);
    expect(gateway.asked.length).toBeLessThanOrEqual(12);
  });

  it("closes the chat with the component", async () => {
    await draw(<Messages chatId={CHAT} />);
    await seconds(2);
    await draw(null);
    const before = gateway.asked.length;
    await seconds(60);
    expect(gateway.asked).toHaveLength(before);
  });

  it("asks for nothing while it is not enabled", async () => {
    gateway.say("Still here");
    await draw(<Messages chatId={CHAT} enabled={false} />);
    await seconds(10);
    expect(gateway.asked).toHaveLength(0);
    await draw(<Messages chatId={CHAT} enabled />);
    await seconds(0);
    expect(gateway.asked).toHaveLength(1);
    await draw(<Messages chatId={CHAT} enabled={false} />);
    await seconds(60);
    expect(gateway.asked).toHaveLength(1);
    expect(page.textContent).toBe("Still here");
  });

  it("calls the callbacks of the last drawing, without opening the chat anew", async () => {
    const [first, second, failed] = [vi.fn(), vi.fn(), vi.fn()];
    await draw(<Messages chatId={CHAT} onStateUpdate={first} />);
    await seconds(0);
    expect(first).toHaveBeenCalled();
    first.mockClear();
    await draw(<Messages chatId={CHAT} onStateUpdate={second} onError={failed} />);
    gateway.say("x");
    await seconds(1);
    expect(first).not.toHaveBeenCalled();
    expect(second).toHaveBeenCalled();
    expect(gateway.asked.length).toBeLessThanOrEqual(3);
    gateway.override = () =>
      new Response(JSON.stringify({ type: "/problems/not-found", title: "", status: 404 }), {
        status: 404,
        headers: { "Content-Type": "application/problem+json" },
      });
    await seconds(2);
    expect(failed).toHaveBeenCalledOnce();
  });

  it("shows another chat where the id changes, and nothing of the one before", async () => {
    gateway.say("Mine");
    await draw(<Messages chatId={CHAT} />);
    await seconds(0);
    gateway.view = { ...EMPTY, id: "other" };
    await draw(<Messages chatId="other" />);
    expect(page.textContent).toBe("");
    await seconds(0);
    expect(page.textContent).toBe("");
  });

  it("shows what was seen last while it is hidden, and asks for nothing", async () => {
    gateway.say("Seen");
    const messages = <Messages chatId={CHAT} />;
    await draw(<Activity>{messages}</Activity>);
    await seconds(0);
    await draw(<Activity mode="hidden">{messages}</Activity>);
    await draw(<Activity mode="hidden">{<Messages chatId={CHAT} />}</Activity>);
    const { length } = gateway.asked;
    await seconds(60);
    expect(page.textContent).toBe("Seen");
    expect(gateway.asked).toHaveLength(length);
  });

  it("follows by another client, and by another transport, as soon as that is given", async () => {
    await draw(<Messages chatId={CHAT} />);
    await seconds(0);
    client.dispose();
    client = gateway.client();
    await draw(<Messages chatId={CHAT} />);
    await seconds(0);
    expect(gateway.count("GET", "/state")).toBe(2);
    await draw(<Messages chatId={CHAT} transport="sse" />);
    await seconds(0);
    expect(gateway.count("GET", "/events")).toBe(1);
  });

  it("draws a message once, however often others change", async () => {
    const drawn = new Map<string, number>();
    function Row({
      id,
      content,
    }: {
      readonly id: string;
      readonly content: string;
    }): ReactNode {
      drawn.set(id, (drawn.get(id) ?? 0) + 1);
      return content;
    }
    function List(): ReactNode {
      const { messages } = useChatStateSync({ chatId: CHAT, transport: "poll" });
      return messages.map((message) => <Row key={message.id} {...message} />);
    }
    await draw(<List />);
    gateway.say("One");
    await seconds(5);
    expect(drawn.get("message-1")).toBe(1); // polls that change nothing draw nothing
  });
});

describe("useChat", () => {
  it("says things, acts, and gives the same functions as long as the chat is the same", async () => {
    const chats: Chat[] = [];
    function Page(): ReactNode {
      const chat = useChat({ chatId: CHAT, transport: "poll" });
      chats.push(chat);
      return chat.state.messages.map(({ id, content, status }) => (
        <p key={id}>{`${content} (${status})`}</p>
      ));
    }
    await draw(<Page />);
    await act(async () => {
      await chats[0]?.send("Hello", { clientMessageId: "mine" });
    });
    await seconds(1);
    const sent = gateway.asked.find(({ method }) => method === "POST");
    expect(sent?.body["client_message_id"]).toBe("mine");
    expect(page.textContent).toBe("Hello (complete)");
    await act(async () => {
      await chats.at(-1)?.rename({ title: "T" });
    });
    expect(gateway.count("POST", `${CHAT}/actions/rename`)).toBe(1);
    await act(async () => {
      await chats.at(-1)?.approveTools({ tool_call_ids: ["c"] });
    });
    expect(gateway.count("POST", `${CHAT}/actions/approve_tools`)).toBe(1);
    expect(chats.at(-1)?.send).toBe(chats[0]?.send);
  });
});
