/** A WebSocket: the frames as JSON messages. */

import { isOver } from "../environment.js";
import { NotUnderstood, Unreachable } from "../problems.js";
import { pathOf } from "../service.js";
import type { Frame } from "../wire.js";
import { retryMsOf } from "./sse.js";
import { fromJson, type Transport } from "./transport.js";

/** How long it may take until the gateway says hello. */
export const OPEN_MS_MAX = 10_000;
/**
 * After so much silence the state is read. Browsers do not tell pages of pings, so a dead
 * connection looks like one on which nothing happens.
 */
export const CHECK_MS = 30_000;

/** Follow a context by a socket. */
export const websocket: Transport = async (link, signal) => {
  const { connection, openSocket, clock } = link;
  if (openSocket === undefined) throw new NotUnderstood("There are no WebSockets here.");
  const after = link.cursor() ?? undefined;
  const url = await connection.socketUrl(`${pathOf(link.chatId)}/ws`, { after }, signal);
  if (isOver(signal)) return 0;
  return new Promise<number>((resolve, reject) => {
    let isOpen = false;
    let retryMs = 0;
    let callOff = (): void => undefined;
    const socket = openSocket(url);

    const end = (settle: () => void): void => {
      callOff();
      signal.removeEventListener("abort", abandon);
      socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
      settle();
    };
    const cut = (error: Error): void => {
      end(() => {
        reject(error);
      });
    };
    const abandon = (): void => {
      end(() => {
        resolve(0);
      });
    };
    const heard = (): void => {
      callOff();
      callOff = clock.after(isOpen ? CHECK_MS : OPEN_MS_MAX, () => {
        if (!isOpen) {
          cut(new Unreachable("The socket did not open."));
          return;
        }
        const before = link.cursor();
        link.check().then(
          () => {
            // What the socket should have told first: it is dead, or far behind.
            if (link.cursor() !== before) cut(new Unreachable("The socket was silent."));
            else heard();
          },
          () => {
            cut(new Unreachable("The socket was silent, and nobody answers."));
          },
        );
      });
    };

    signal.addEventListener("abort", abandon);
    socket.onmessage = ({ data }) => {
      let frame: Frame;
      try {
        frame = fromJson(String(data)) as Frame;
      } catch (error) {
        cut(error as Error);
        return;
      }
      if (frame.event === "hello") {
        isOpen = true;
        link.opened();
      }
      heard();
      if (frame.event === "bye") retryMs = retryMsOf(frame);
      else link.take(frame);
    };
    socket.onclose = () => {
      end(() => {
        resolve(retryMs);
      });
    };
    heard();
  });
};
