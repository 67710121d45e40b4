/** What the client needs of its surroundings. All of it is injected; `browser.ts` has the defaults. */

/** Time and timers. */
export interface Clock {
  /** Unix time in milliseconds. */
  now(): number;
  /** Call back after some milliseconds; what is returned calls it off. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The part of `WebSocket` that is used. */
export type Socket = Pick<WebSocket, "onopen" | "onmessage" | "onclose" | "onerror" | "close">;

export type SocketFactory = (url: string) => Socket;

/** Whether somebody looks at the page. */
export interface Visibility {
  readonly hidden: boolean;
  /** Be told of changes; what is returned ends that. */
  subscribe(listener: () => void): () => void;
}

/** One holder at a time among all tabs of an origin; the part of Web Locks that is used. */
export interface Locks {
  request(
    name: string,
    options: { readonly signal: AbortSignal },
    held: () => Promise<void>,
  ): Promise<void>;
}

/** Sleep, unless the signal ends it. */
export async function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      callOff();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const callOff = clock.after(delayMs, end);
    signal.addEventListener("abort", end);
  });
}

/** Whether the signal has ended what it is for; asked anew after each wait. */
export function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}
