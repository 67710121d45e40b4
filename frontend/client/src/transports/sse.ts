/** Server-sent events over `fetch`: `EventSource` could not send the key. */

import { NotUnderstood, Unreachable } from "../problems.js";
import { queryString } from "../connection.js";
import { pathOf } from "../service.js";
import type { Frame } from "../wire.js";
import { fromJson, type Transport } from "./transport.js";

/** A stream that is silent for so long is cut: the gateway sends something each 15 s. */
export const SILENCE_MS_MAX = 45_000;
/** Characters of one event that may wait for its end. */
const EVENT_CHARS_MAX = 64 * 1024 * 1024;

/** Follow a context by one long answer. */
export const sse: Transport = async (link, signal) => {
  const ended = new AbortController();
  let callOff = (): void => undefined;
  const heard = (): void => {
    callOff();
    callOff = link.clock.after(SILENCE_MS_MAX, () => {
      ended.abort();
    });
  };
  const either = AbortSignal.any([signal, ended.signal]);
  const after = link.cursor() ?? undefined;
  heard();
  try {
    const response = await link.connection.open(
      `${pathOf(link.chatId)}/events${queryString({ after })}`,
      { method: "GET", headers: { Accept: "text/event-stream" } },
      either,
    );
    if (response.body === null) throw new NotUnderstood("The answer is no stream.");
    const events = new EventParser(EVENT_CHARS_MAX);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      heard();
      for (const frame of events.push(decoder.decode(value, { stream: true }))) {
        if (frame.event === "hello") link.opened();
        if (frame.event === "bye") return retryMsOf(frame);
        link.take(frame);
      }
    }
  } catch (error) {
    if (error instanceof TypeError || ended.signal.aborted) {
      throw new Unreachable("The stream was cut.", { cause: error });
    }
    throw error;
  } finally {
    callOff();
    ended.abort(); // whoever has ended it: what is still to come is not read
  }
};

/** When the gateway that stops wants to be asked again. */
export function retryMsOf({ data }: Frame): number {
  return data["retry_ms"] as number;
}

/** From text in any pieces to events. */
export class EventParser {
  #rest = "";
  #id = "";
  #event = "";
  #data: string[] = [];
  #chars = 0;

  /** @param charsMax How many of one event may wait for its end. */
  constructor(private readonly charsMax: number) {}

  /**
   * The events that end in this piece of text.
   *
   * @throws Unreachable, where one is too large; NotUnderstood, where one is not JSON.
   */
  *push(text: string): Generator<Frame> {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0) yield this.#frame();
        this.#id = this.#event = "";
        this.#data = [];
        this.#chars = 0;
      } else {
        this.#field(line);
      }
    }
    if (this.#chars + this.#rest.length > this.charsMax) {
      throw new Unreachable("An event is too large.");
    }
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    this.#chars += line.length;
    if (name === "id") this.#id = value;
    else if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
  }

  #frame(): Frame {
    const data = fromJson(this.#data.join("\n")) as Frame["data"];
    return { id: this.#id, event: this.#event, data };
  }
}
