/** A context as it was at any of its versions: scrub through them by slider, buttons or keys. */

import { useCallback, useEffect, useMemo, useState, type ReactNode } from "react";

import { Icon } from "../common/Icon.js";
import { Refused, wordsOf, type Api } from "./api.js";
import { Panel } from "./Panel.js";
import { linkTo } from "./place.js";
import { Past, type Moment, type Range } from "./travel.js";
import { TravelMoment } from "./TravelMoment.js";
import { clock, spoken } from "./words.js";

interface TimeTravelProps {
  readonly api: Api;
  readonly contextId: string;
}

const STEP_KEYS: Readonly<Record<string, number>> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  Home: -Infinity,
  End: Infinity,
};

export function TimeTravel({ api, contextId }: TimeTravelProps): ReactNode {
  const [written, setWritten] = useState(contextId);
  return (
    <>
      <Panel title="Time travel" more="a context of yours, at any version">
        <form
          className="travel-form"
          onSubmit={(event) => {
            event.preventDefault();
            location.hash = linkTo("history", written.trim());
          }}
        >
          <label className="field">
            <span>Context</span>
            <input
              className="input"
              required
              autoComplete="off"
              spellCheck={false}
              placeholder="its id"
              value={written}
              onChange={(event) => {
                setWritten(event.target.value);
              }}
            />
          </label>
          <button type="submit" className="button button-main">
            Open
          </button>
        </form>
      </Panel>
      {contextId === "" ? null : <Travel api={api} contextId={contextId} />}
    </>
  );
}

function Travel({ api, contextId }: TimeTravelProps): ReactNode {
  const past = useMemo(() => new Past(api, contextId), [api, contextId]);
  const [range, setRange] = useState<Range | null>(null);
  const [version, setVersion] = useState<number | null>(null);
  const [moment, setMoment] = useState<Moment | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  const [looks, setLooks] = useState(0);

  useEffect(() => {
    const ended = new AbortController();
    past.range(ended.signal).then(
      (found) => {
        setWrong(null);
        setRange(found);
        setVersion(found.last);
      },
      (error: unknown) => {
        if (!ended.signal.aborted) setWrong(refusal(error));
      },
    );
    return () => {
      ended.abort();
    };
  }, [past, looks]);
  useEffect(() => {
    if (range === null || version === null) return;
    const ended = new AbortController();
    past.moment(version, range, ended.signal).then(
      (found) => {
        if (ended.signal.aborted) return;
        setWrong(null);
        setMoment(found);
      },
      (error: unknown) => {
        if (!ended.signal.aborted) setWrong(refusal(error));
      },
    );
    return () => {
      ended.abort();
    };
  }, [past, range, version]);

  const step = useCallback(
    (by: number) => {
      if (range === null) return;
      setVersion((at) => Math.min(range.last, Math.max(range.first, (at ?? range.last) + by)));
    },
    [range],
  );
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const by = STEP_KEYS[event.key];
      const isElsewhere =
        event.target instanceof Element &&
        event.target.closest("input, textarea, select, [tabindex='0'], dialog") !== null;
      if (by === undefined || isElsewhere || event.altKey || event.ctrlKey || event.metaKey)
        return;
      event.preventDefault();
      step(by);
    };
    addEventListener("keydown", press);
    return () => {
      removeEventListener("keydown", press);
    };
  }, [step]);

  return (
    <>
      {wrong === null ? null : (
        <p className="said-wrong" role="alert">
          {wrong}
        </p>
      )}
      {range === null || version === null ? null : (
        <section className="scrubber" aria-label="Versions">
          <div className="scrubber-buttons">
            <button
              type="button"
              className="button button-tiny"
              aria-label="First version"
              disabled={version === range.first}
              onClick={() => {
                step(-Infinity);
              }}
            >
              First
            </button>
            <button
              type="button"
              className="button-icon"
              aria-label="One version back"
              disabled={version === range.first}
              onClick={() => {
                step(-1);
              }}
            >
              <Icon name="left" />
            </button>
            <button
              type="button"
              className="button-icon"
              aria-label="One version on"
              disabled={version === range.last}
              onClick={() => {
                step(1);
              }}
            >
              <Icon name="right" />
            </button>
            <button
              type="button"
              className="button button-tiny"
              aria-label="Newest version"
              onClick={() => {
                setLooks(looks + 1);
              }}
            >
              Newest
            </button>
          </div>
          <input
            type="range"
            min={range.first}
            max={range.last}
            value={version}
            aria-label="Version"
            aria-valuetext={`version ${version.toString()} of ${range.last.toString()}${moment?.entry == null ? "" : `, ${spoken(moment.entry.event.kind)}`}`}
            onChange={(event) => {
              setVersion(Number(event.target.value));
            }}
          />
          <output>
            <span>
              <b>{version}</b> of {range.last}
            </span>
            <small>{moment?.entry == null ? "" : clock(moment.entry.event.at_ms)}</small>
          </output>
        </section>
      )}
      {moment === null ? null : <TravelMoment moment={moment} onVersion={setVersion} />}
    </>
  );
}

function refusal(error: unknown): string {
  if (error instanceof Refused && error.status === 404)
    return "There is no such context of yours. Contexts of others are theirs alone.";
  return wordsOf(error);
}
