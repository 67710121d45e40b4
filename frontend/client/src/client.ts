/** `createClient`: puts the parts together. */

import {
  browserClock,
  browserLocks,
  browserOnline,
  browserOutbox,
  browserRandom,
  browserSockets,
  browserVisibility,
  consoleDebug,
} from "./browser.js";
import { Connection, type ApiKey, type Debug } from "./connection.js";
import type { Clock, Locks, SocketFactory, Visibility } from "./environment.js";
import type { OutboxStorage } from "./outbox/entry.js";
import { Outbox } from "./outbox/outbox.js";
import { Replica } from "./replica.js";
import { BackendContextService } from "./service.js";
import { ChatStateSync, type SyncOptions } from "./sync.js";
import type { ActionResponse } from "./wire.js";

export interface ClientOptions {
  /** Of the gateway, as in `https://chat.example`; `location.origin` where it serves the page. */
  readonly baseUrl: string;
  /** An API key, or what returns one for each request. */
  readonly apiKey?: ApiKey;
  readonly fetch?: typeof fetch;
  /** Makes a `WebSocket`; null: there are none here. */
  readonly webSocket?: SocketFactory | null;
  /** Where messages wait to be sent. */
  readonly storage?: OutboxStorage;
  readonly clock?: Clock;
  /** Draws from [0, 1), for ids and back-offs. */
  readonly random?: () => number;
  /** True: to the console. Contents and keys are never told. */
  readonly debug?: boolean | Debug;
  /** Be told when there is a network again; what is returned ends that. */
  readonly onOnline?: (listener: () => void) => () => void;
  readonly visibility?: Visibility;
  /** One sender among all tabs; null: there are no Web Locks here. */
  readonly locks?: Locks | null;
}

export interface Client {
  readonly service: BackendContextService;
  readonly outbox: Outbox;
  /** Show a chat, and follow it until `dispose`. Those who show the same one share what is read. */
  open(chatId: string, options?: SyncOptions): ChatStateSync;
  /** End all of it. What waits in the outbox stays there. */
  dispose(): void;
}

/** A client of one gateway, for one key. */
export function createClient(options: ClientOptions): Client {
  const clock = options.clock ?? browserClock;
  const random = options.random ?? browserRandom;
  const debug = debugOf(options.debug);
  const onOnline = options.onOnline ?? browserOnline;
  const webSocket = options.webSocket === undefined ? browserSockets() : options.webSocket;
  const locks = options.locks === undefined ? browserLocks() : options.locks;
  const connection = new Connection({
    baseUrl: options.baseUrl,
    apiKey: options.apiKey,
    fetch: options.fetch ?? ((...asked) => fetch(...asked)),
    clock,
    random,
    debug,
  });
  /** Those that are shown, by chat and transport, and by how many. */
  const shown = new Map<string, { readonly replica: Replica; users: number }>();
  const seen = ({ context }: ActionResponse): void => {
    if (context === null) return;
    for (const { replica } of shown.values()) {
      if (replica.chatId === context.id) replica.adopt(context);
    }
  };
  const service = new BackendContextService(connection, seen);
  const outbox = new Outbox({
    connection,
    storage: options.storage ?? browserOutbox(`contextd-outbox ${options.baseUrl}`),
    locks: locks ?? undefined,
    clock,
    random,
    debug,
    seen,
  });
  const endOnline = onOnline(() => {
    outbox.flush();
  });

  function open(chatId: string, syncOptions: SyncOptions = {}): ChatStateSync {
    const { transport = "auto", enabled = true } = syncOptions;
    const key = `${transport} ${enabled} ${chatId}`;
    let sharing = shown.get(key);
    if (sharing === undefined) {
      const replica = new Replica(chatId, {
        connection,
        openSocket: webSocket ?? undefined,
        clock,
        random,
        debug,
        visibility: options.visibility ?? browserVisibility,
        onOnline,
        transport,
      });
      sharing = { replica, users: 0 };
      shown.set(key, sharing);
    }
    const { replica } = sharing;
    sharing.users += 1;
    const used = sharing;
    const sync = new ChatStateSync(replica, outbox, syncOptions, () => {
      used.users -= 1;
      if (used.users > 0) return;
      shown.delete(key);
      replica.stop();
    });
    if (enabled) replica.start();
    return sync;
  }

  function dispose(): void {
    endOnline();
    outbox.dispose();
    for (const { replica } of shown.values()) replica.stop();
    shown.clear();
  }

  return { service, outbox, open, dispose };
}

function debugOf(debug: ClientOptions["debug"]): Debug {
  if (typeof debug === "function") return debug;
  return debug === true ? consoleDebug : () => undefined;
}
