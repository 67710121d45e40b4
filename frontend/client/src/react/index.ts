/** React hooks over `@contextd/client`. */

export { ContextdProvider, useClient } from "./provider.js";
export { useChat, type Chat } from "./chat.js";
export { useChatStateSync, type ChatStateSyncOptions } from "./sync.js";
