/** The title of the chat, what it is doing, and its settings. */

import type { BackendContextService, ChatState } from "@contextd/client";
import { useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { MenuButton } from "./MenuButton.js";
import { useNotices } from "./notices.js";
import { SettingsDialog } from "./SettingsDialog.js";
import { statusWords, titleOf } from "./words.js";

interface ConversationHeadProps {
  readonly service: BackendContextService;
  readonly chatId: string;
  readonly state: ChatState;
  readonly onMenu: () => void;
}

export function ConversationHead({
  service,
  chatId,
  state,
  onMenu,
}: ConversationHeadProps): ReactNode {
  const { context, status } = state;
  const [isConfiguring, setIsConfiguring] = useState(false);
  const { attempt } = useNotices();
  const isPaused = status === "paused";
  const pauseLabel = isPaused ? "Resume" : "Pause";
  return (
    <header className="head">
      <MenuButton onMenu={onMenu} />
      <div className="head-title">
        <h2 dir="auto">{context === null ? "\u00a0" : titleOf(context)}</h2>
        {status === null || statusWords(status) === "" ? null : (
          <p className="head-status" data-status={status}>
            <i className="badge" />
            {statusWords(status)}
          </p>
        )}
      </div>
      {context === null ? null : (
        <>
          <button
            type="button"
            className="button-icon"
            aria-label={pauseLabel}
            title={pauseLabel}
            onClick={() =>
              void attempt(isPaused ? service.resume(chatId) : service.pause(chatId))
            }
          >
            <Icon name={isPaused ? "play" : "pause"} />
          </button>
          <button
            type="button"
            className="button-icon"
            aria-label="Settings of this chat"
            title="Settings of this chat"
            onClick={() => {
              setIsConfiguring(true);
            }}
          >
            <Icon name="settings" />
          </button>
        </>
      )}
      {isConfiguring && context !== null ? (
        <SettingsDialog
          service={service}
          context={context}
          onClose={() => {
            setIsConfiguring(false);
          }}
        />
      ) : null}
    </header>
  );
}
