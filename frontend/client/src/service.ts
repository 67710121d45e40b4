/**
 * `BackendContextService`: every action and every read of the API, one method each.
 *
 * An action is sent until it is answered, under one key, and so is done once. Two identical
 * reads that are under way share one request; a read that begins after an action was answered
 * never shares one that began before.
 */

import type { Connection, WriteOptions } from "./connection.js";
import { resolveConflicts, type ConflictStrategy } from "./conflicts.js";
import type {
  ActionBody,
  ActionName,
  ActionResponse,
  ActionStatus,
  ContextExport,
  ContextList,
  CreateContext,
  Fork,
  LimitsView,
  LogPage,
  MessageList,
  MessageView,
  SendMessage,
  TurnList,
} from "./wire.js";

/** What every action takes besides its body. */
export interface ActionOptions<Body> extends WriteOptions {
  /** What to do where something else has happened meanwhile (409, 412); `server-wins`. */
  readonly onConflict?: ConflictStrategy<Body>;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** A page of a list. */
export interface PageOptions extends ReadOptions {
  readonly limit?: number;
}

/** A page of contexts. */
export interface ChatPage extends ContextList {
  /** `after` of the next page; null: this is the last one. */
  readonly next: string | null;
}

export class BackendContextService {
  readonly #connection: Connection;
  readonly #seen: (response: ActionResponse) => void;

  /**
   * @param seen Is told every state that was answered.
   */
  constructor(connection: Connection, seen: (response: ActionResponse) => void) {
    this.#connection = connection;
    this.#seen = seen;
  }

  // Contexts

  createChat(body: CreateContext = {}, options: WriteOptions = {}): Promise<ActionResponse> {
    return this.#change("/api/contexts", body, options);
  }

  /** Own contexts, newest first; `states` gives the cursor of each. */
  listChats(
    options: PageOptions & { readonly after?: string; readonly states?: boolean } = {},
  ): Promise<ChatPage> {
    const { limit, after, states } = options;
    return this.#connection.getPage("/api/contexts", { limit, after, states }, options);
  }

  /** Delete a context and all that is kept of it. One that is not there is deleted. */
  async deleteChat(chatId: string, options: WriteOptions = {}): Promise<void> {
    await this.#connection.delete(pathOf(chatId), options);
  }

  /** A new context that goes on from this one, as it is or as it was at a version. */
  fork(chatId: string, body: Fork = {}, options: WriteOptions = {}): Promise<ActionResponse> {
    return this.#change(`${pathOf(chatId)}/actions/fork`, body, options);
  }

  importChat(document: ContextExport, options: WriteOptions = {}): Promise<ActionResponse> {
    return this.#change("/api/contexts/import", document, options);
  }

  // Actions

  sendMessageAction(
    chatId: string,
    body: SendMessage,
    options: ActionOptions<SendMessage> = {},
  ): Promise<ActionResponse> {
    return this.act(chatId, "send_message", body, options);
  }

  /** Decide on tool calls: `tool_call_ids` are approved, `deny` denied, others stay pending. */
  approveToolsAction(
    chatId: string,
    body: ActionBody<"approve_tools">,
    options: ActionOptions<ActionBody<"approve_tools">> = {},
  ): Promise<ActionResponse> {
    return this.act(chatId, "approve_tools", body, options);
  }

  answer = this.#action("answer");
  cancel = this.#action("cancel");
  retry = this.#action("retry");
  reset = this.#action("reset");
  pause = this.#action("pause");
  resume = this.#action("resume");
  configure = this.#action("configure");
  rename = this.#action("rename");
  generateTitle = this.#action("generate_title");
  pin = this.#action("pin");
  unpin = this.#action("unpin");
  editMessage = this.#action("edit_message");
  regenerate = this.#action("regenerate");
  updateQueue = this.#action("update_queue");
  createBranch = this.#action("create_branch");
  switchBranch = this.#action("switch_branch");
  mergeBranch = this.#action("merge_branch");
  recordMessages = this.#action("record_messages");
  requestTurn = this.#action("request_turn");

  /** Any action, by its name on the wire. */
  async act<A extends ActionName>(
    chatId: string,
    action: A,
    body: ActionBody<A>,
    options: ActionOptions<ActionBody<A>> = {},
  ): Promise<ActionResponse> {
    return resolveConflicts(
      body,
      options,
      (sent, tried) => this.#change(`${pathOf(chatId)}/actions/${action}`, sent, tried),
      () => this.getChatState(chatId),
    );
  }

  #action<A extends ActionName>(action: A): Act<A> {
    const act = (
      chatId: string,
      body: ActionBody<A> = {} as ActionBody<A>,
      options: ActionOptions<ActionBody<A>> = {},
    ): Promise<ActionResponse> => this.act(chatId, action, body, options);
    return act;
  }

  async #change(path: string, body: unknown, options: WriteOptions) {
    const response = await this.#connection.post<ActionResponse>(path, body, options);
    this.#seen(response);
    return response;
  }

  // Reads

  /** The state now. */
  async getChatState(chatId: string, options: ReadOptions = {}): Promise<ActionResponse> {
    const path = `${pathOf(chatId)}/state`;
    const response = await this.#connection.get<ActionResponse>(path, {}, options);
    this.#seen(response);
    return response;
  }

  /** The state as it was at a version. */
  getChatStateAt(
    chatId: string,
    version: number,
    options: ReadOptions = {},
  ): Promise<ActionResponse> {
    const query = { at_version: version };
    return this.#connection.get(`${pathOf(chatId)}/state`, query, options);
  }

  /** Messages of a branch, by their numbers. */
  getMessages(
    chatId: string,
    options: PageOptions & {
      readonly branch?: string;
      readonly afterSeq?: number;
      readonly beforeSeq?: number;
    } = {},
  ): Promise<MessageList> {
    const { limit, branch, afterSeq, beforeSeq } = options;
    const query = { limit, branch, after_seq: afterSeq, before_seq: beforeSeq };
    return this.#connection.get(`${pathOf(chatId)}/messages`, query, options);
  }

  /** One message, on whichever branch it lies. */
  getMessage(
    chatId: string,
    messageId: string,
    options: ReadOptions = {},
  ): Promise<MessageView> {
    const path = `${pathOf(chatId)}/messages/${encodeURIComponent(messageId)}`;
    return this.#connection.get(path, {}, options);
  }

  /** A row for each turn of the active branch. */
  getTurns(
    chatId: string,
    options: PageOptions & { readonly afterSeq?: number } = {},
  ): Promise<TurnList> {
    const { limit, afterSeq } = options;
    return this.#connection.get(
      `${pathOf(chatId)}/turns`,
      { limit, after_seq: afterSeq },
      options,
    );
  }

  /** Committed events by version. */
  getLog(
    chatId: string,
    options: PageOptions & { readonly after?: number } = {},
  ): Promise<LogPage> {
    const { limit, after } = options;
    return this.#connection.get(`${pathOf(chatId)}/log`, { limit, after }, options);
  }

  /** The whole log as one document; `importChat` takes it. */
  exportChat(chatId: string, options: ReadOptions = {}): Promise<ContextExport> {
    return this.#connection.get(`${pathOf(chatId)}/export`, {}, options);
  }

  /** What became of an action. */
  getAction(actionId: string, options: ReadOptions = {}): Promise<ActionStatus> {
    return this.#connection.get(`/api/actions/${encodeURIComponent(actionId)}`, {}, options);
  }

  /** What you may, and what you have used of it. */
  getLimits(options: ReadOptions = {}): Promise<LimitsView> {
    return this.#connection.get("/api/limits", {}, options);
  }
}

/** The method of one action; the body may be left out where all of it may. */
export type Act<A extends ActionName> =
  Record<string, never> extends ActionBody<A>
    ? (
        chatId: string,
        body?: ActionBody<A>,
        options?: ActionOptions<ActionBody<A>>,
      ) => Promise<ActionResponse>
    : (
        chatId: string,
        body: ActionBody<A>,
        options?: ActionOptions<ActionBody<A>>,
      ) => Promise<ActionResponse>;

/** The address of a context. */
export function pathOf(chatId: string): string {
  return `/api/contexts/${encodeURIComponent(chatId)}`;
}
