/** The way in: asks for a key once a gateway wants one. */

import { useEffect, useState, type ReactNode } from "react";

import { forgetKey, readKey } from "../common/key.js";
import { SignIn } from "../common/SignIn.js";
import { makeApi, type Api } from "./api.js";
import { Dashboard } from "./Dashboard.js";
import type { Socket } from "./link.js";
import { Watcher } from "./watcher.js";

interface Means {
  readonly api: Api;
  readonly watcher: Watcher;
}

export function Entry(): ReactNode {
  const [isOut, setIsOut] = useState(false);
  const [means, setMeans] = useState<Means | null>(null);
  useEffect(() => {
    if (isOut) return;
    const api = makeApi({
      key: readKey,
      fetch: (...asked) => fetch(...asked),
      onRefused: () => { setIsOut(true); },
    });
    const watcher = new Watcher({
      api,
      openSocket: (path) => new WebSocket(location.origin.replace(/^http/, "ws") + path) as Socket,
      after: (ms, call) => {
        const timer = setTimeout(call, ms);
        return () => { clearTimeout(timer); };
      },
      now: Date.now,
      random: Math.random,
    });
    setMeans({ api, watcher });
    watcher.start();
    return () => {
      watcher.stop();
      setMeans(null);
    };
  }, [isOut]);
  if (isOut) return <SignIn wasRefused={readKey() !== ""} onKey={() => { setIsOut(false); }} />;
  if (means === null) return null;
  return (
    <Dashboard
      api={means.api}
      watcher={means.watcher}
      onSignOut={() => {
        forgetKey();
        setIsOut(true);
      }}
    />
  );
}
