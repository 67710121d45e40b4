/** `ChatStateSync`: one chat, kept in step with the backend for as long as it is open. */

import { tell } from "./listeners.js";
import type { Outbox, SendOptions } from "./outbox/outbox.js";
import type { ContextdError } from "./problems.js";
import type { Replica } from "./replica.js";
import { emptyState, shownState, type ChatState, type TransportName } from "./state.js";
import type { SendMessage } from "./wire.js";

export interface SyncOptions {
  /** Whether the chat is followed; else it is shown as it was last seen. Default: true. */
  readonly enabled?: boolean;
  /** How; `auto` takes the best that works. Default: `auto`. */
  readonly transport?: TransportName | "auto";
  readonly onStateUpdate?: (state: ChatState) => void;
  readonly onError?: (error: ContextdError) => void;
}

export class ChatStateSync {
  readonly chatId: string;
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #listeners = new Set<() => void>();
  readonly #ends: (() => void)[] = [];
  #state: ChatState;
  #isDisposed = false;

  /**
   * @param release Called once, when nobody shows the chat through this any more.
   */
  constructor(replica: Replica, outbox: Outbox, options: SyncOptions, release: () => void) {
    this.chatId = replica.chatId;
    this.#replica = replica;
    this.#outbox = outbox;
    this.#state = shownState(
      emptyState(replica.chatId),
      replica.seen,
      outbox.pending(this.chatId),
    );
    const { onStateUpdate, onError } = options;
    if (onStateUpdate !== undefined) {
      this.#listeners.add(() => {
        onStateUpdate(this.#state);
      });
    }
    const refresh = (): void => {
      this.#refreshState();
    };
    this.#ends.push(replica.subscribe(refresh), outbox.subscribe(refresh), release);
    if (onError !== undefined) {
      this.#ends.push(
        replica.onError(onError),
        outbox.onError((error, chatId) => {
          if (chatId === this.chatId) onError(error);
        }),
      );
    }
  }

  /** What to show now. */
  get state(): ChatState {
    return this.#state;
  }

  /** Be told of every change; what is returned ends that. */
  subscribe(listener: () => void): () => void {
    // Its own function: the same listener may be there twice.
    const told = (): void => {
      listener();
    };
    this.#listeners.add(told);
    return () => this.#listeners.delete(told);
  }

  /**
   * Say something. It is shown at once, kept until the backend has it, and said once.
   *
   * @returns Its `client_message_id`, once it is kept.
   */
  send(content: SendMessage["content"], options: SendOptions = {}): Promise<string> {
    return this.#outbox.add(this.chatId, content, options);
  }

  /** Try once more to send a message that has failed. */
  retrySend(clientMessageId: string): Promise<void> {
    return this.#outbox.retry(clientMessageId);
  }

  /** Forget a message that was not sent. */
  discardSend(clientMessageId: string): Promise<void> {
    return this.#outbox.discard(clientMessageId);
  }

  /** Read the state now. */
  refresh(): Promise<void> {
    return this.#replica.refresh();
  }

  /** Follow the chat no longer, and call nobody back. Messages on their way are sent all the same. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const end of this.#ends) end();
  }

  #refreshState(): void {
    const state = shownState(
      this.#state,
      this.#replica.seen,
      this.#outbox.pending(this.chatId),
    );
    if (state === this.#state) return;
    this.#state = state;
    tell(this.#listeners);
  }
}
