/** A chat's state, and what can be done with it. */

import { useMemo } from "react";
import type { BackendContextService } from "../service.js";
import type { ChatState } from "../state.js";
import { useClient } from "./provider.js";
import { useChatStateSync, type ChatStateSyncOptions } from "./sync.js";
import type { Outbox, SendOptions } from "../outbox/outbox.js";
import type { SendMessage } from "../wire.js";

type Actions = Pick<
  BackendContextService,
  | "answer"
  | "cancel"
  | "configure"
  | "editMessage"
  | "pause"
  | "regenerate"
  | "rename"
  | "reset"
  | "resume"
  | "retry"
  | "switchBranch"
  | "updateQueue"
> & { readonly approveTools: BackendContextService["approveToolsAction"] };

/** An action of this chat: the service's method without the chat's id. */
type Bound<F> = F extends (chatId: string, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;

export type Chat = { readonly [K in keyof Actions]: Bound<Actions[K]> } & {
  readonly state: ChatState;
  /** Say something; its `client_message_id`, once it is kept. */
  readonly send: (content: SendMessage["content"], options?: SendOptions) => Promise<string>;
  readonly retrySend: Outbox["retry"];
  readonly discardSend: Outbox["discard"];
};

/** Show a chat and act on it; the functions are the same as long as the chat is. */
export function useChat(options: ChatStateSyncOptions): Chat {
  const { chatId } = options;
  const { service, outbox } = useClient();
  const state = useChatStateSync(options);
  const bound = useMemo(
    () => ({
      send: (content: SendMessage["content"], sendOptions?: SendOptions) =>
        outbox.add(chatId, content, sendOptions),
      retrySend: (id: string) => outbox.retry(id),
      discardSend: (id: string) => outbox.discard(id),
      answer: service.answer.bind(null, chatId),
      approveTools: service.approveToolsAction.bind(service, chatId),
      cancel: service.cancel.bind(null, chatId),
      configure: service.configure.bind(null, chatId),
      editMessage: service.editMessage.bind(null, chatId),
      pause: service.pause.bind(null, chatId),
      regenerate: service.regenerate.bind(null, chatId),
      rename: service.rename.bind(null, chatId),
      reset: service.reset.bind(null, chatId),
      resume: service.resume.bind(null, chatId),
      retry: service.retry.bind(null, chatId),
      switchBranch: service.switchBranch.bind(null, chatId),
      updateQueue: service.updateQueue.bind(null, chatId),
    }),
    [service, outbox, chatId],
  );
  return useMemo(() => ({ ...bound, state }), [bound, state]);
}
