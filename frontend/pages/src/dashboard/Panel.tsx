/** A titled part of the page. */

import { useId, type ReactNode } from "react";

interface PanelProps {
  readonly title: string;
  readonly more?: ReactNode;
  readonly tools?: ReactNode;
  readonly className?: string;
  readonly children: ReactNode;
}

export function Panel({ title, more, tools, className = "", children }: PanelProps): ReactNode {
  const id = useId();
  return (
    <section className={`panel-box ${className}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {more === undefined ? null : <small>{more}</small>}
        {tools === undefined ? null : <div className="panel-tools">{tools}</div>}
      </header>
      {children}
    </section>
  );
}
