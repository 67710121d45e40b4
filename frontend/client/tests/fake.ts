/** A gateway in this process: one context, answers as a test wants them, and what was asked. */

import {
  createClient,
  type Client,
  type ClientOptions,
  type ContextView,
  type Frame,
  type MessageView,
  type Socket,
} from "../src/index.js";
import { HISTORIES } from "./golden.js";

const [first] = HISTORIES.get("plain-turn") ?? [];
if (first === undefined) throw new Error("There are no golden histories.");
/** An idle context without messages. */
export const EMPTY: ContextView = first.before;
export const CHAT = EMPTY.id;

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
  readonly atMs: number;
}

type Handler = (asked: Asked, signal: AbortSignal) => Response | Promise<Response> | undefined;

export class FakeGateway {
  view: ContextView = EMPTY;
  readonly asked: Asked[] = [];
  readonly sockets: FakeSocket[] = [];
  /** Asked before everything else; undefined: as usual. */
  override: Handler = () => undefined;
  isOnline = true;
  isHidden = false;
  #drawn = 0.5;
  readonly #frames: Frame[] = [];
  readonly #streams = new Set<(frame: Frame | null) => void>();
  readonly #listeners = { visibility: new Set<() => void>(), network: new Set<() => void>() };
  readonly #done = new Map<string, { text: string; answer: unknown }>();

  /** A client of it: no sockets, no locks, memory for storage, unless a test wants others. */
  client(options: Partial<ClientOptions> = {}): Client {
    const { visibility, network } = this.#listeners;
    const gateway = this; // eslint-disable-line @typescript-eslint/no-this-alias
    return createClient({
      baseUrl: "http://gateway",
      fetch: (input, init) => this.#answer(addressOf(input), init ?? {}),
      webSocket: null,
      locks: null,
      random: () => (this.#drawn = (this.#drawn * 997 + 0.123) % 1),
      visibility: {
        get hidden() {
          return gateway.isHidden;
        },
        subscribe: (listener) => subscribe(visibility, listener),
      },
      onNetwork: (listener) => subscribe(network, listener),
      ...options,
    });
  }

  readonly socket = (url: string): Socket => {
    const socket = new FakeSocket(url);
    this.sockets.push(socket);
    return socket;
  };

  look(isHidden: boolean): void {
    this.isHidden = isHidden;
    for (const listener of this.#listeners.visibility) listener();
  }

  online(isOnline: boolean): void {
    this.isOnline = isOnline;
    if (!isOnline) for (const show of [...this.#streams]) show(null);
    for (const listener of this.#listeners.network) listener();
  }

  /** Commit an event; `change` is what it does to the view. */
  commit(event: string, data: Frame["data"], change: Partial<ContextView>): void {
    const [epoch = ""] = this.view.cursor.split(".");
    const version = this.view.version + 1;
    const cursor = `${epoch}.${version}.0`;
    this.view = { ...this.view, ...change, version, cursor };
    const at_ms = Date.parse(this.view.updated_at);
    this.show({ id: cursor, event, data: { kind: event, at_ms, ...data } });
  }

  /** Commit an event that clients cannot fold. */
  change(change: Partial<ContextView>): void {
    this.commit("context-configured", { patch: {} }, change);
  }

  /** Show a frame to everybody who streams. */
  show(frame: Frame): void {
    this.#frames.push(frame);
    for (const show of [...this.#streams]) show(frame);
    for (const socket of this.sockets) if (socket.isOpen) socket.receive(frame);
  }

  say(text: string, more: Partial<MessageView> = {}): MessageView {
    const { messages, message_count } = this.view;
    const message: MessageView = {
      id: `message-${message_count + 1}`,
      seq: message_count + 1,
      parent_id: messages.at(-1)?.id ?? null,
      role: "user",
      content: text,
      parts: [],
      tool_calls: [],
      tool_call_id: null,
      created_at: "2026-11-22T12:00:00.000Z",
      status: "complete",
      finish_reason: null,
      client_message_id: null,
      model: null,
      usage: null,
      metadata: {},
      replaces: null,
      copy_of: null,
      ...more,
    };
    this.change({ messages: [...messages, message], message_count: message_count + 1 });
    return message;
  }

  /** Requests by method and the end of the path, as in `GET state`. */
  count(method: string, end: string): number {
    return this.asked.filter((one) => one.method === method && one.path.endsWith(end)).length;
  }

  /** What was sent as messages. */
  sends(): readonly Asked[] {
    return this.asked.filter(({ path }) => path.endsWith("/send_message"));
  }

  /** What the context has been told. */
  said(): readonly string[] {
    return this.view.messages.map(({ content }) => content);
  }

  /** How many seconds lie between requests of a kind. */
  gaps(end: string): readonly number[] {
    const times = this.asked.filter(({ path }) => path.endsWith(end)).map(({ atMs }) => atMs);
    return times.slice(1).map((at, index) => (at - (times[index] ?? 0)) / 1_000);
  }

  async #answer(address: string, init: RequestInit): Promise<Response> {
    const url = new URL(address);
    const signal = init.signal ?? new AbortController().signal;
    signal.throwIfAborted();
    const asked: Asked = {
      method: init.method ?? "GET",
      path: url.pathname,
      query: url.searchParams,
      headers: new Headers(init.headers),
      body: JSON.parse(typeof init.body === "string" ? init.body : "{}") as Asked["body"],
      atMs: Date.now(),
    };
    this.asked.push(asked);
    await Promise.resolve(); // no answer is there at once
    if (!this.isOnline) throw new TypeError("offline");
    return (await this.override(asked, signal)) ?? this.#usual(asked, signal);
  }

  #usual(asked: Asked, signal: AbortSignal): Response | Promise<Response> {
    const { method, path } = asked;
    if (method === "GET" && path.endsWith("/state")) return this.#state(asked, signal);
    if (method === "GET" && path.endsWith("/events")) return this.#stream(asked, signal);
    if (path === "/api/tickets") return json(201, { ticket: "t", expires_at: "" });
    if (method === "POST" && path.includes("/actions/")) return this.#act(asked);
    return problem(404, "not-found", "Context not found");
  }

  #state(asked: Asked, signal: AbortSignal): Response | Promise<Response> {
    const headers = { ETag: `"${this.view.cursor}"` };
    const after = asked.query.get("after");
    if (after !== null) return this.#page(after, asked.headers.has("Prefer"), signal);
    if (asked.headers.get("If-None-Match") === headers.ETag) {
      return new Response(null, { status: 304, headers });
    }
    const { status, version } = this.view;
    return json(200, { context: this.view, status, version, action: null }, headers);
  }

  async #page(after: string, waits: boolean, signal: AbortSignal): Promise<Response> {
    if (waits && after === this.view.cursor) {
      await new Promise<void>((resolve, reject) => {
        const show = (): void => {
          this.#streams.delete(show);
          resolve();
        };
        this.#streams.add(show);
        setTimeout(show, 25_000);
        signal.addEventListener("abort", () => {
          this.#streams.delete(show);
          reject(signal.reason as Error);
        });
      });
      if (!this.isOnline) throw new TypeError("offline");
    }
    const { cursor, status, version } = this.view;
    return json(200, { events: this.#behind(after), cursor, status, version });
  }

  #stream(asked: Asked, signal: AbortSignal): Response {
    const after = asked.query.get("after");
    const encoder = new TextEncoder();
    const streams = this.#streams;
    const begin = [
      { id: "", event: "hello", data: { epoch: "1", cursor: this.view.cursor, resumed: true } },
      ...(after === null
        ? [{ id: this.view.cursor, event: "snapshot", data: { ...this.view } }]
        : this.#behind(after)),
    ];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const show = (frame: Frame | null): void => {
          if (frame === null) {
            streams.delete(show);
            controller.error(new TypeError("cut"));
            return;
          }
          const text = `id: ${frame.id}\nevent: ${frame.event}\ndata: ${JSON.stringify(frame.data)}\n\n`;
          controller.enqueue(encoder.encode(text));
        };
        signal.addEventListener("abort", () => {
          if (streams.delete(show)) controller.error(signal.reason);
        });
        streams.add(show);
        begin.forEach(show);
      },
    });
    return new Response(body, {
      status: 200,
      headers: { "Content-Type": "text/event-stream" },
    });
  }

  #behind(after: string): readonly Frame[] {
    const at = this.#frames.findIndex(({ id }) => id === after);
    return this.#frames.slice(at + 1);
  }

  #act(asked: Asked): Response {
    const key = asked.headers.get("Idempotency-Key") ?? "";
    const text = JSON.stringify(asked.body);
    const before = this.#done.get(key);
    if (before !== undefined && before.text !== text)
      return problem(422, "key-reused", "Reused");
    if (before === undefined) {
      const { content, client_message_id } = asked.body as Record<string, string>;
      this.say(content ?? "", { client_message_id: client_message_id ?? null });
      const action = {
        id: `a-${this.view.version}`,
        result: "applied",
        version: this.view.version,
      };
      this.#done.set(key, { text, answer: action });
    }
    const { status, version } = this.view;
    const action = this.#done.get(key)?.answer;
    return json(200, { context: this.view, status, version, action });
  }
}

export class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  isOpen = false;
  isClosed = false;

  constructor(readonly url: string) {}

  /** The gateway says hello. */
  open(cursor: string): void {
    this.isOpen = true;
    this.receive({ id: "", event: "hello", data: { epoch: "1", cursor, resumed: true } });
  }

  receive(frame: Frame): void {
    this.#handle(this.onmessage, { data: JSON.stringify(frame) });
  }

  /** The gateway, or the network, ends it. */
  end(code = 1006): void {
    this.isOpen = false;
    this.#handle(this.onclose, { code });
  }

  close(): void {
    this.isOpen = false;
    this.isClosed = true;
  }

  #handle(handler: unknown, event: unknown): void {
    (handler as ((event: unknown) => void) | null)?.(event);
  }
}

export function json(status: number, body: unknown, headers: HeadersInit = {}): Response {
  const sent = new Headers(headers);
  sent.set("Content-Type", "application/json");
  return new Response(JSON.stringify(body), { status, headers: sent });
}

export function problem(
  status: number,
  name: string,
  detail: string,
  more: Record<string, unknown> = {},
): Response {
  const type = `/problems/${name}`;
  const body = { type, title: name, status, detail, request_id: "r", ...more };
  const headers = { "Content-Type": "application/problem+json" };
  return new Response(JSON.stringify(body), { status, headers });
}

export function addressOf(input: RequestInfo | URL): string {
  if (typeof input === "string") return input;
  return input instanceof URL ? input.href : input.url;
}

function subscribe(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
