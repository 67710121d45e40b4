/** What the model asks the person, and where to answer. */

import type { BackendContextService, ContextView, QuestionView } from "@contextd/client";
import { useState, type ReactNode } from "react";

import { useNotices } from "./notices.js";
import { prettyJson } from "./words.js";

interface QuestionPanelProps {
  readonly service: BackendContextService;
  readonly context: ContextView;
}

export function QuestionPanel({ service, context }: QuestionPanelProps): ReactNode {
  return context.pending_questions.map((question) => (
    <Question key={question.id} service={service} chatId={context.id} question={question} />
  ));
}

interface QuestionProps {
  readonly service: BackendContextService;
  readonly chatId: string;
  readonly question: QuestionView;
}

function Question({ service, chatId, question }: QuestionProps): ReactNode {
  const [text, setText] = useState("");
  const [isSent, setIsSent] = useState(false);
  const { attempt } = useNotices();
  const { asked, options } = read(question);
  const answer = async (content: string): Promise<void> => {
    setIsSent(true);
    const done = await attempt(service.answer(chatId, { question_id: question.id, content }));
    if (done === undefined) setIsSent(false);
  };
  const headId = `question-${question.id}`;
  return (
    <section className="panel" data-kind="question" aria-labelledby={headId}>
      <h3 id={headId} className="question" dir="auto">
        {asked}
      </h3>
      {options.length > 0 ? (
        <div className="options">
          {options.map((option, index) => (
            <button
              key={index}
              type="button"
              className="button"
              dir="auto"
              disabled={isSent}
              onClick={() => void answer(option)}
            >
              {option}
            </button>
          ))}
        </div>
      ) : null}
      <form
        className="answer"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() !== "") void answer(text);
        }}
      >
        <input
          className="input"
          dir="auto"
          aria-label="Your answer"
          placeholder="Your answer"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
          }}
        />
        <button
          type="submit"
          className="button button-main"
          disabled={isSent || text.trim() === ""}
        >
          Answer
        </button>
      </form>
    </section>
  );
}

/** Of the built-in tool `question` and `options`; of others, their name and arguments. */
function read(question: QuestionView): {
  readonly asked: string;
  readonly options: readonly string[];
} {
  try {
    const value: unknown = JSON.parse(question.arguments);
    if (
      typeof value === "object" &&
      value !== null &&
      "question" in value &&
      typeof value.question === "string"
    ) {
      const options = "options" in value && Array.isArray(value.options) ? value.options : [];
      return {
        asked: value.question,
        options: options.filter((option) => typeof option === "string"),
      };
    }
  } catch {
    // Shown as it is, below.
  }
  return { asked: `${question.name} ${prettyJson(question.arguments)}`, options: [] };
}
