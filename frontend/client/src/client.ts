/** `createClient`: puts the parts together. */

import {
  browserClock,
  browserLocks,
  browserNetwork,
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
  /** Be told when the network comes or goes; what is returned ends that. */
  readonly onNetwork?: (listener: () => void) => () => void;
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

/** How many chats that nobody shows any more are remembered as they were. */
const CHATS_KEPT_MAX = 20;

/** A replica, how many show it, and how many of them follow it. */
interface Shared {
  readonly replica: Replica;
  users: number;
  followers: number;
}

/** A client of one gateway, for one key. */
export function createClient(options: ClientOptions): Client {
  const clock = options.clock ?? browserClock;
  const random = options.random ?? browserRandom;
  const debug = debugOf(options.debug);
  const onNetwork = options.onNetwork ?? browserNetwork;
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
  const surroundings = {
    connection,
    openSocket: webSocket ?? undefined,
    clock,
    random,
    debug,
    visibility: options.visibility ?? browserVisibility,
    onNetwork,
  };
  /** By chat and transport. */
  const shared = new Map<string, Shared>();
  const seen = ({ context }: ActionResponse): void => {
    for (const { replica } of shared.values()) {
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
  const endNetwork = onNetwork(() => {
    outbox.flush();
  });

  function open(chatId: string, syncOptions: SyncOptions = {}): ChatStateSync {
    const { transport = "auto", enabled = true } = syncOptions;
    const key = `${transport} ${chatId}`;
    const sharing = shared.get(key) ?? {
      replica: new Replica(chatId, { ...surroundings, transport }),
      users: 0,
      followers: 0,
    };
    shared.set(key, sharing);
    const { replica } = sharing;
    sharing.users += 1;
    sharing.followers += enabled ? 1 : 0;
    if (enabled) replica.start();
    return new ChatStateSync(replica, outbox, syncOptions, () => {
      sharing.users -= 1;
      sharing.followers -= enabled ? 1 : 0;
      if (sharing.followers === 0) replica.stop();
      if (sharing.users === 0) keep(key, sharing);
    });
  }

  /** What was shown last is shown at once when it is opened again. */
  function keep(key: string, sharing: Shared): void {
    shared.delete(key);
    if (!sharing.replica.seen.isGone) shared.set(key, sharing); // the last one last
    const unused = [...shared].filter(([, { users }]) => users === 0);
    for (const [oldest] of unused.slice(0, -CHATS_KEPT_MAX)) shared.delete(oldest);
  }

  function dispose(): void {
    endNetwork();
    outbox.dispose();
    for (const { replica } of shared.values()) replica.stop();
    shared.clear();
  }

  return { service, outbox, open, dispose };
}

function debugOf(debug: ClientOptions["debug"]): Debug {
  if (typeof debug === "function") return debug;
  return debug === true ? consoleDebug : () => undefined;
}
