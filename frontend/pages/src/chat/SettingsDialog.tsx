/** The configuration of a chat: what has changed is sent as a merge patch, null for a default. */

import type { ActionBody, BackendContextService, Config, ContextView } from "@contextd/client";
import { useEffect, useState, type ReactNode } from "react";

import { Dialog } from "../common/Dialog.js";
import { readKey } from "../common/key.js";
import { POLICIES } from "./Composer.js";
import { useNotices } from "./notices.js";

interface SettingsDialogProps {
  readonly service: BackendContextService;
  readonly context: ContextView;
  readonly onClose: () => void;
}

/** As they stand in the fields. */
interface Fields {
  readonly model: string;
  readonly mode: string;
  readonly system_prompt: string;
  readonly temperature: string;
  readonly max_tokens: string;
  readonly send_policy: string;
  readonly tool_mode: string;
  readonly allowed: string;
  readonly on_takeover: string;
}

const MODES = {
  text: "Nothing",
  semantic: "Chats and notes",
  graph: "What hangs together",
  deep: "All of it, and memory",
};
const TOOL_MODES = {
  manual: "Every call is asked about",
  allow_list: "Unlisted ones are asked about",
  auto: "The first round just runs",
  auto_loop: "All just run",
};
const TAKEOVER = { restart: "Asked for again", keep: "Kept as interrupted" };

export function SettingsDialog({ service, context, onClose }: SettingsDialogProps): ReactNode {
  const [before] = useState(() => fieldsOf(context.config));
  const [fields, setFields] = useState(before);
  const [isSaving, setIsSaving] = useState(false);
  const { attempt } = useNotices();
  const models = useModels();
  const set =
    (name: keyof Fields) =>
    (value: string): void => {
      setFields({ ...fields, [name]: value });
    };
  const problem = problemOf(fields);
  const save = async (): Promise<void> => {
    const patch = patchOf(before, fields);
    if (problem !== null) return;
    if (Object.keys(patch).length === 0) {
      onClose();
      return;
    }
    setIsSaving(true);
    const done = await attempt(service.configure(context.id, patch));
    setIsSaving(false);
    if (done !== undefined) onClose();
  };
  return (
    <Dialog
      title="Settings of this chat"
      onClose={onClose}
      onSubmit={() => void save()}
      foot={
        <>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            className="button button-main"
            disabled={isSaving || problem !== null}
          >
            Save
          </button>
        </>
      }
    >
      <div className="settings">
        <label className="field">
          <span>Model</span>
          <input
            className="input"
            list="models"
            placeholder="The server's default"
            value={fields.model}
            onChange={(event) => {
              set("model")(event.target.value);
            }}
          />
          <datalist id="models">
            {models.map((model) => (
              <option key={model} value={model} />
            ))}
          </datalist>
        </label>
        <Choice
          label="Looked up before each reply"
          value={fields.mode}
          options={MODES}
          onValue={set("mode")}
        />
        <label className="field wide">
          <span>System prompt</span>
          <textarea
            className="input"
            dir="auto"
            rows={3}
            value={fields.system_prompt}
            onChange={(event) => {
              set("system_prompt")(event.target.value);
            }}
          />
        </label>
        <label className="field">
          <span>Temperature</span>
          <input
            className="input"
            inputMode="decimal"
            placeholder="The model's own"
            value={fields.temperature}
            onChange={(event) => {
              set("temperature")(event.target.value);
            }}
          />
        </label>
        <label className="field">
          <span>Tokens of a reply, at most</span>
          <input
            className="input"
            inputMode="numeric"
            placeholder="The model's own"
            value={fields.max_tokens}
            onChange={(event) => {
              set("max_tokens")(event.target.value);
            }}
          />
        </label>
        <Choice
          label="A message during a reply"
          value={fields.send_policy}
          options={POLICIES}
          onValue={set("send_policy")}
        />
        <Choice
          label="A reply whose worker died"
          value={fields.on_takeover}
          options={TAKEOVER}
          onValue={set("on_takeover")}
        />
        <Choice
          label="Tools"
          value={fields.tool_mode}
          options={TOOL_MODES}
          onValue={set("tool_mode")}
        />
        {fields.tool_mode === "allow_list" ? (
          <label className="field">
            <span>Tools that need no approval</span>
            <input
              className="input"
              placeholder="clock, calculator"
              value={fields.allowed}
              onChange={(event) => {
                set("allowed")(event.target.value);
              }}
            />
          </label>
        ) : null}
      </div>
      {problem === null ? null : (
        <p className="said-wrong" role="alert">
          {problem}
        </p>
      )}
    </Dialog>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly options: Readonly<Record<string, string>>;
  readonly onValue: (value: string) => void;
}

function Choice({ label, value, options, onValue }: ChoiceProps): ReactNode {
  const isKnown = Object.hasOwn(options, value);
  return (
    <label className="field">
      <span>{label}</span>
      <select
        className="input"
        value={value}
        onChange={(event) => {
          onValue(event.target.value);
        }}
      >
        {isKnown ? null : <option value={value}>{value}</option>}
        {Object.entries(options).map(([name, words]) => (
          <option key={name} value={name}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The models that the server offers; none where it does not tell. */
function useModels(): readonly string[] {
  const [models, setModels] = useState<readonly string[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    const headers = readKey() === "" ? {} : { Authorization: `Bearer ${readKey()}` };
    fetch("/v1/models", { headers, signal: controller.signal })
      .then(async (response) => (response.ok ? ((await response.json()) as unknown) : null))
      .then((page) => {
        setModels(idsOf(page));
      })
      .catch(() => undefined);
    return () => {
      controller.abort();
    };
  }, []);
  return models;
}

function idsOf(page: unknown): readonly string[] {
  if (
    typeof page !== "object" ||
    page === null ||
    !("data" in page) ||
    !Array.isArray(page.data)
  )
    return [];
  return page.data.flatMap((model: unknown) =>
    typeof model === "object" && model !== null && "id" in model && typeof model.id === "string"
      ? [model.id]
      : [],
  );
}

function fieldsOf(config: Config): Fields {
  const number = (name: string): string => {
    const value = config.parameters[name];
    return typeof value === "number" ? value.toString() : "";
  };
  return {
    model: config.model ?? "",
    mode: config.mode,
    system_prompt: config.system_prompt,
    temperature: number("temperature"),
    max_tokens: number("max_tokens"),
    send_policy: config.send_policy,
    tool_mode: config.tool_policy.mode,
    allowed: config.tool_policy.allowed.join(", "),
    on_takeover: config.on_takeover,
  };
}

function problemOf({ temperature, max_tokens }: Fields): string | null {
  if (temperature.trim() !== "" && !(Number(temperature) >= 0 && Number(temperature) <= 2)) {
    return "The temperature is a number from 0 to 2.";
  }
  return max_tokens.trim() === "" || /^\s*[1-9]\d{0,7}\s*$/.test(max_tokens)
    ? null
    : "Tokens are a whole number from 1 on.";
}

function patchOf(before: Fields, now: Fields): ActionBody<"configure"> {
  const changed = (name: keyof Fields): boolean => before[name] !== now[name];
  const number = (text: string): number | null => (text.trim() === "" ? null : Number(text));
  const parameters = {
    ...(changed("temperature") && { temperature: number(now.temperature) }),
    ...(changed("max_tokens") && { max_tokens: number(now.max_tokens) }),
  };
  const allowed = now.allowed.split(/[\s,]+/).filter(Boolean);
  return {
    ...(changed("model") && { model: now.model.trim() === "" ? null : now.model.trim() }),
    ...(changed("mode") && { mode: now.mode }),
    ...(changed("system_prompt") && { system_prompt: now.system_prompt }),
    ...(Object.keys(parameters).length > 0 && { parameters }),
    ...(changed("send_policy") && { send_policy: now.send_policy }),
    ...((changed("tool_mode") || changed("allowed")) && {
      tool_policy: { mode: now.tool_mode, allowed },
    }),
    ...(changed("on_takeover") && { on_takeover: now.on_takeover }),
  } as ActionBody<"configure">;
}
