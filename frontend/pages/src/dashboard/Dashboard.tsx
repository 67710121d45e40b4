/** The dashboard: whether all is well on top, then the place that one looks at. */

import { useState, useSyncExternalStore, type ReactNode } from "react";

import { Boundary } from "../common/Boundary.js";
import { Icon } from "../common/Icon.js";
import { Mark } from "../common/SignIn.js";
import { THEMES, useTheme } from "../common/theme.js";
import { ActivityPlace } from "./ActivityPlace.js";
import type { Api } from "./api.js";
import { ContextsPlace } from "./ContextsPlace.js";
import { LettersPlace } from "./LettersPlace.js";
import { Overview } from "./Overview.js";
import { linkTo, PLACES, useAddress, type Place } from "./place.js";
import { useRestart } from "./restart.js";
import { OrderDialog, type Order } from "./OrderDialog.js";
import { RestartProgress } from "./RestartProgress.js";
import { StatusLine } from "./StatusLine.js";
import { TimeTravel } from "./TimeTravel.js";
import type { Known, Watcher } from "./watcher.js";

interface DashboardProps {
  readonly api: Api;
  readonly watcher: Watcher;
  readonly onSignOut: () => void;
}

export function Dashboard({ api, watcher, onSignOut }: DashboardProps): ReactNode {
  const known = useSyncExternalStore(watcher.subscribe, watcher.known);
  const { place, contextId } = useAddress();
  const [theme, nextTheme] = useTheme();
  const [themeIcon, themeLabel] = THEMES[theme];
  const restart = useRestart(api, known.restartId);
  const [order, setOrder] = useState<Order | null>(null);
  return (
    <div className="dash">
      <a
        className="dash-skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        Skip to the content
      </a>
      <header className="dash-head">
        <div className="dash-bar">
          <h1>
            <Mark />
            <span>contextd</span>
            <span className="hidden-text"> dashboard</span>
          </h1>
          <LinkPill known={known} />
          <span className="dash-space" />
          <button
            type="button"
            className="button"
            aria-label="Restart"
            onClick={() => {
              setOrder({ kind: "restart" });
            }}
          >
            <Icon name="retry" />
            <span className="dash-wide">Restart</span>
          </button>
          <a className="button-icon" href="/" aria-label="Chats" title="Chats">
            <Icon name="left" />
          </a>
          <button
            type="button"
            className="button-icon"
            aria-label={themeLabel}
            title={themeLabel}
            onClick={nextTheme}
          >
            <Icon name={themeIcon} />
          </button>
          <button
            type="button"
            className="button-icon"
            aria-label="Sign out"
            title="Sign out"
            onClick={onSignOut}
          >
            <Icon name="leave" />
          </button>
        </div>
        <nav className="dash-places" aria-label="Places">
          {(Object.keys(PLACES) as Place[]).map((each) => (
            <a
              key={each}
              href={linkTo(each)}
              aria-current={each === place ? "page" : undefined}
            >
              {PLACES[each]}
              {each === "letters" && known.stats !== null && known.stats.dead_letters > 0 ? (
                <span className="dash-badge">{known.stats.dead_letters}</span>
              ) : null}
            </a>
          ))}
        </nav>
      </header>
      <main id="main" tabIndex={-1} className="dash-main">
        <StatusLine known={known} />
        <RestartProgress restart={restart} known={known} />
        <Boundary
          key={place}
          instead={<p className="nothing">This part of the page has failed. Load it again.</p>}
        >
          {place === "overview" ? (
            <Overview
              known={known}
              onDrain={(process) => {
                setOrder({ kind: "drain", process });
              }}
            />
          ) : null}
          {place === "activity" ? <ActivityPlace api={api} /> : null}
          {place === "contexts" ? <ContextsPlace api={api} nowMs={known.nowMs} /> : null}
          {place === "letters" ? <LettersPlace api={api} /> : null}
          {place === "history" ? (
            <TimeTravel key={contextId} api={api} contextId={contextId} />
          ) : null}
        </Boundary>
      </main>
      {order === null ? null : (
        <OrderDialog
          api={api}
          order={order}
          onClose={() => {
            setOrder(null);
          }}
          onBegun={(restartId) => {
            setOrder(null);
            restart.follow(restartId);
          }}
        />
      )}
    </div>
  );
}

const LINK_WORDS = {
  connecting: "Connecting",
  live: "Live",
  polling: "Every 5 s",
  away: "Not connected",
  refused: "Not allowed",
} as const;

function LinkPill({ known }: { readonly known: Known }): ReactNode {
  return (
    <span className="dash-pill" data-link={known.link}>
      <i aria-hidden="true" />
      {LINK_WORDS[known.link]}
    </span>
  );
}
