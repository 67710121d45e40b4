/** Asks for the API key, and says where to find one. */

import { useState, type ReactNode } from "react";

import { keepKey } from "./key.js";
import "./sign-in.css";

interface SignInProps {
  /** Whether a key was sent and not taken. */
  readonly wasRefused: boolean;
  readonly onKey: () => void;
}

export function SignIn({ wasRefused, onKey }: SignInProps): ReactNode {
  const [key, setKey] = useState("");
  const [forLong, setForLong] = useState(false);
  return (
    <main className="sign-in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          keepKey(key.trim(), { forLong });
          onKey();
        }}
      >
        <Mark />
        <h1>Sign in to contextd</h1>
        <p>
          The first start wrote a key to <code>contextd-data/owner.key</code>;{" "}
          <code>contextd keys create</code> makes more.
        </p>
        <label className="field">
          <span>API key</span>
          <input
            className="input"
            type="password"
            name="key"
            autoComplete="current-password"
            autoFocus
            required
            pattern="\s*[!-~]+\s*"
            placeholder="ctxd_…"
            value={key}
            aria-invalid={wasRefused}
            aria-describedby={wasRefused ? "refused" : undefined}
            onChange={(event) => {
              setKey(event.target.value);
            }}
          />
        </label>
        {wasRefused ? (
          <p id="refused" className="said-wrong" role="alert">
            This key opens nothing: it is unknown, expired or revoked.
          </p>
        ) : null}
        <label className="check">
          <input
            type="checkbox"
            checked={forLong}
            onChange={(event) => {
              setForLong(event.target.checked);
            }}
          />
          Keep me signed in on this device
        </label>
        <button type="submit" className="button button-main">
          Sign in
        </button>
      </form>
    </main>
  );
}

export function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path d="M20.5 11.2a6.6 6.6 0 1 0 0 9.6" />
      <circle cx="22.4" cy="16" r="2" />
    </svg>
  );
}
