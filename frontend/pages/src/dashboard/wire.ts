/** What the dashboard is told, as docs/dashboard.md has it; unknown fields are ignored. */

export interface Percentiles {
  readonly count: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
}

export const TIMED = ["send", "poll", "save", "first_token"] as const;
export type Timed = (typeof TIMED)[number];

export interface ProcessStats {
  readonly id: string;
  readonly role: string;
  readonly host: string;
  readonly process_id: number;
  readonly started_at: string;
  readonly age_s: number;
  readonly silent_s: number;
  readonly memory_bytes: number;
  readonly cpu: number;
  readonly lag_ms: number;
  readonly draining: boolean;
  readonly load: Readonly<Record<string, number>>;
}

export interface Stats {
  readonly at: string;
  readonly since: string | null;
  readonly contexts: {
    readonly total: number;
    readonly by_phase: Readonly<Record<string, number>>;
    readonly created: number;
    readonly deleted: number;
  };
  readonly mailbox: { readonly waiting: number; readonly oldest_s: number };
  readonly actions: {
    readonly delivered: number;
    readonly applied: number;
    readonly refused: number;
    readonly per_s: number;
  };
  readonly turns: {
    readonly started: number;
    readonly ended: {
      readonly completed: number;
      readonly cancelled: number;
      readonly failed: number;
    };
    readonly running: number;
    readonly per_s: number;
  };
  readonly latency: { readonly window_s: number } & Readonly<Record<Timed, Percentiles>>;
  readonly saves: {
    readonly commits: number;
    readonly snapshots: number;
    readonly skipped_clean: number;
    readonly bytes: number;
  };
  readonly viewers: {
    readonly sse: number;
    readonly websocket: number;
    readonly long_poll: number;
    readonly dashboard: number;
  };
  readonly processes: readonly ProcessStats[];
  readonly dead_letters: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly announcements: {
    readonly seq: number;
    readonly throttled: number;
    readonly dropped: number;
    readonly skipped: number;
  };
  readonly store: {
    readonly memory_bytes: number;
    readonly memory_bytes_max: number | null;
    readonly durability: string;
    readonly epoch: string;
  };
}

/** Everything that the WebSocket says comes in one of these. */
export interface Message {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly timestamp: string;
  readonly seq: number;
}

/** What is announced; the rest of the messages is about the connection itself. */
export const ANNOUNCED = [
  "action_received",
  "turn_started",
  "turn_ended",
  "approval_requested",
  "approval_given",
  "query_complete",
  "worker_joined",
  "worker_lost",
  "context_recovered",
  "restart_requested",
  "restart_progress",
  "restart_complete",
  "error",
] as const;

export interface ProcessRestart {
  readonly role: "gateway" | "worker";
  readonly slot: number;
  readonly process_id: number | null;
  readonly replaced_by: number | null;
  readonly outcome: "drained" | "killed" | "not replaced";
  readonly moved: number | null;
  readonly duration_ms: number;
}

export type RestartScope = "all" | "gateways" | "workers";

export interface RestartReport {
  readonly restart_id: string;
  readonly status: "requested" | "running" | "complete" | "failed";
  /** Of gateways that cannot drain: missing. */
  readonly kind?: "restart" | "drain";
  readonly scope: RestartScope;
  readonly requested_at_ms: number;
  readonly supervisors: readonly {
    readonly supervisor: string;
    readonly status: "running" | "complete" | "failed";
    readonly processes: readonly ProcessRestart[];
  }[];
}

export interface DeadLetter {
  readonly id: string;
  readonly context_id: string;
  readonly at_ms: number;
  readonly cause: string;
  readonly action: string | null;
  readonly event: Readonly<Record<string, unknown>> | null;
  readonly webhook?: string | null;
}

/** A context at work, as `GET /admin/contexts` shows it. */
export interface Glance {
  readonly id: string;
  readonly owner: string;
  readonly status: string;
  readonly version: number;
  /** Null: its contents cannot be opened. */
  readonly changed_at: string | null;
  readonly waits_since: string | null;
  readonly worker: string | null;
  readonly mail: number;
  readonly attempts: number;
  readonly trouble: "stuck" | "slow" | null;
}

/** A request, as `GET /api/v1/activity/recent` shows it. */
export interface ActivityRecord {
  readonly timestamp: string;
  readonly event_type: string;
  readonly endpoint: string;
  readonly latency_ms: number;
  readonly status: number;
  readonly metadata: { readonly problem?: string | null; readonly request_id?: string | null };
}

export interface LogEntry {
  readonly version: number;
  readonly event: Readonly<Record<string, unknown>> & {
    readonly kind: string;
    readonly at_ms: number;
  };
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly detail?: string;
  readonly first_version?: number;
  readonly active_contexts?: Readonly<Record<string, number>>;
}
