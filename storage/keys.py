"""Every key and channel of the store, by name; no other file spells one.

Keys of one context share the hash tag `{id}`, hence one cluster slot. Scripts make up the
keys of workers and of rq's jobs that they meet; those live on one primary.

A context, `ctx:{id}:...`

* `meta` (hash): owner, token, worker, version, n, mail_seq, summary; name (the owner's, if
  it has one), drafted (version at which the draft began), activation (process and its own
  number of it), attempts (activations in a row that have committed nothing), first (version
  in the log, 1 if it is not there), messages (how many), bytes (of log and base), phase, trace
  (of the running turn, if it has one), keep (events that the log is to have left once the
  context rests, if somebody wishes that). create, deliver, activate, attempt, commit, draft,
  passivate, compact, shorten, bury.
* `mail` (stream): undelivered actions and when they came (ms), `<seq>-0`. create and deliver
  add, commit trims.
* `log` (stream): events as JSON, `<version>-0`. create, commit; fill, for a context that is not
  there yet: then it lives `FILL_S`.
* `draft` (string): text of the reply that has arrived and is not committed. draft, commit.
* `keys` (hash): idempotency key -> seq and body digest, the last `results_max`. deliver.
* `results` (hash): seq -> what became of the action, the last `results_max`. commit adds,
  deliver trims.
* `snap` (hash): version, head (the state without its messages), writes. commit; create, for a
  long log that was copied.
* `msgs` (list): messages of the snapshot as JSON. commit; fill and create, as with such a log.
* `base` (hash): version, state: what the log begins with where it was compacted; no cache,
  the events before it are gone. create, compact.
* `dead` (hash): dead letter id -> the letter as JSON. commit, settle, storage/letters.py.
* `notices` (zset): what webhooks are still to tell, as JSON; score: version. create, commit
  and delete add, settle removes, storage/webhooks.py puts back; it outlives the context.
* `gone` (hash): owner of the context that was here; seq, key, digest and result of its
  deletion. Lives `tombstone_days`. delete.

An owner

* `owner:<owner>:contexts` (zset): ids of the contexts, by id (UUIDv7: by age). create, delete.
* `owner:<owner>:names` (hash): the owner's name for a context -> its id. create, delete.
* `owner:<owner>:turns` (set): ids of the contexts that are at work, or have mail that may
  begin a turn. create, deliver and commit add, commit and delete remove.
* `owner:<owner>:tokens` (hash, lives a day): day (UTC, by the store's clock, since 1970), used
  (tokens of its replies). commit.
* `owner:<owner>:notes` (hash): note key -> when (ms) and text. storage/notes.py.
* `create:<length of owner>:<owner>:<key>` (string, lives `creation_key_s`): id and digest of
  the context that an Idempotency-Key has created. create.

Operations

* `restarting` (string, lives `restart_silent_s_max`): id of the restart that runs.
  storage/restarts.py, hold.
* `restart:<id>` (hash, lives `restart_report_s`): the request, and what each supervisor
  has done. storage/restarts.py.
* `restart:<id>:<supervisor>` (string, lives `CARRIER_S`): this supervisor carries it out.
  storage/restarts.py.
* `dead` (zset): ids of all dead letters; score: since when (ms). commit, delete, settle,
  storage/letters.py.

* `contexts` (zset): ids of all contexts; score: a time (ms) that is not later than the last
  change, or until which retention passes it over. create, lease, storage/retention.py, delete.
* `webhooks` (zset): contexts with `notices`; score: when they are to be told (ms). create,
  commit, delete, lease, settle, storage/webhooks.py.
* `webhooks:tries` (hash): context id -> how often its first notice has come to nothing. settle,
  storage/webhooks.py.
* `chore:<name>` (string, lives one period): a maintenance job was enqueued in this period.
  storage/enqueue.py.

Workers

* `workers` (zset): worker ids; score: since when (ms), below 0: it is buried, but for its jobs.
  renew, bury, finish.
* `worker:<id>:session` (string, lives `worker_session_ms`): the worker lives. renew, bury.
* `worker:<id>:contexts` (set): what the worker has active. activate, passivate, bury, delete.
* `ready` (zset): contexts with undelivered mail, or whose worker died; score: since when
  (ms). create, deliver and bury add; activate, commit and delete remove; claim postpones.
* `due` (zset): contexts that want to be activated at a time, by themselves; score: when
  (ms). create and commit set it, delete removes, claim postpones.
* `rq:*`: rq's own queue, jobs, registries, workers. storage/enqueue.py, workers/dequeue.py.

Access

* `access:keys` (hash): key id -> what is kept of an API key, as JSON. storage/access.py.
* `ticket:<digest>` (string, lives `ticket_s`): what a ticket stands for, as JSON.
  storage/access.py.
* `bucket:<name>` (string, lives until it is full): when a token bucket would be full again
  (us). spend.

The store

* `epoch` (hash): n, which grows when the store may have lost commits; run_id, durability. open.

* `totals` (hash): how many of what there have been: `contexts:...`, `actions:...`, `turns:...`,
  `saves:...`, ..., and `phase:<phase>`: contexts that are in it now, but for idle ones;
  `since` (ms). A field may name several, separated by a space, which are all added to; one
  behind `-` is taken from. create, deliver, commit, delete, report.
* `latencies` (hash): `<kind>:<bin of the sketch>` -> how many, since ever. report.
* `latencies:<slot>` (hash, lives `LATENCIES_S`): the same of ten seconds, and totals as they
  were when these began. report.
* `processes` (zset): ids of gateways and workers; score: when they reported last (ms). report.
* `process:<id>` (string, lives `process_silent_s_max`): what a process says of itself, as
  JSON. report.
* `reported:<process>` (string, lives `REPORTED_S`): number of its last report. report.
* `announcements` (stream): what dashboards show, as JSON, `<seq>-0`, the last
  `announcements_kept`. announce, bury.
* `announced:<process>` (string, lives `ANNOUNCED_S`): number of its last batch. announce.
* `audit` (stream): what somebody may have to answer for, as JSON, `<number>-0`, the last
  `audit_records_max`. storage/audit.py.
* `activity` (stream): requests that gateways have answered, as JSON, about the last
  `activity_stored_max`. storage/activity.py.
* `activity:gateways` (zset): ids of gateways; score: since when (ms). storage/activity.py.
* `activity:gateway:<id>` (string, lives 15 s): what that gateway has counted, as JSON.
  storage/activity.py.
* `sealed` (string): whether all contents are encrypted or only later ones, encrypted itself.
  storage/sealing.py.

Channels

* `ctx:{id}:feed`: commit and draft frames (`storage/frames.py`), from commit, draft and
  delete to the gateways.
* `worker:<id>:mail`: mail of active contexts, from deliver to the worker; empty: look
  into the mailbox, from activate.
* `announcements`: what was announced, from announce and bury to the dashboards.
* `supervisors`: ids of restarts, from gateways to supervisors.
* `workers:wake`: somebody was buried, look at `ready` now; from bury to the workers.
* `replicated`: nobody listens; what is published is behind everything that replicas have to
  have (`storage/barrier.py`).
"""

READY = "ready"
DUE = "due"
DEAD = "dead"
CONTEXTS = "contexts"
WEBHOOKS = "webhooks"
TRIES = "webhooks:tries"
RESTARTING = "restarting"
SUPERVISORS = "supervisors"
WORKERS = "workers"
EPOCH = "epoch"
SEALED = "sealed"
AUDIT = "audit"
ACTIVITY = "activity"
ACTIVITY_GATEWAYS = "activity:gateways"
WAKE = "workers:wake"
ACCESS_KEYS = "access:keys"
REPLICATED = "replicated"
TOTALS = "totals"
LATENCIES = "latencies"
PROCESSES = "processes"
ANNOUNCEMENTS = "announcements"


def meta(context_id: str) -> str:
    """The meta hash of a context."""
    return f"ctx:{{{context_id}}}:meta"


def of_context(context_id: str, *names: str) -> list[str]:
    """Keys of a context by their last part, in the order asked for."""
    return [f"ctx:{{{context_id}}}:{name}" for name in names]


def feed(context_id: str) -> str:
    """Channel of a context's frames."""
    return f"ctx:{{{context_id}}}:feed"


def owner_contexts(owner: str) -> str:
    """The index of an owner's contexts."""
    return f"owner:{owner}:contexts"


def owner_names(owner: str) -> str:
    """The contexts of an owner that have a name."""
    return f"owner:{owner}:names"


def owner_turns(owner: str) -> str:
    """The contexts of an owner that are at work."""
    return f"owner:{owner}:turns"


def owner_tokens(owner: str) -> str:
    """How many tokens an owner's replies have used in a day."""
    return f"owner:{owner}:tokens"


def creation(owner: str, key: str) -> str:
    """What an owner's Idempotency-Key has created."""
    return f"create:{len(owner)}:{owner}:{key}"  # both may contain colons


def session(worker_id: str) -> str:
    """The key that says a worker lives."""
    return f"worker:{worker_id}:session"


def worker_contexts(worker_id: str) -> str:
    """The contexts that a worker has active."""
    return f"worker:{worker_id}:contexts"


def worker_mail(worker_id: str) -> str:
    """Channel of the mail for contexts that are active on a worker."""
    return f"worker:{worker_id}:mail"


def restart(restart_id: str) -> str:
    """The request and the reports of a restart."""
    return f"restart:{restart_id}"


def carrier(restart_id: str, supervisor: str) -> str:
    """The sign of a supervisor that carries a restart out."""
    return f"{restart(restart_id)}:{supervisor}"


def notes(owner: str) -> str:
    """The notes that an owner keeps."""
    return f"owner:{owner}:notes"


def ticket(digest: str) -> str:
    """What a ticket stands for."""
    return f"ticket:{digest}"


def bucket(name: str) -> str:
    """A bucket of tokens."""
    return f"bucket:{name}"


def chore(name: str) -> str:
    """The mark that a chore was enqueued in this period."""
    return f"chore:{name}"


def activity_of(gateway_id: str) -> str:
    """What a gateway has counted of the requests that it has answered."""
    return f"activity:gateway:{gateway_id}"


def latencies(slot: int) -> str:
    """How long things took in one slot of time."""
    return f"{LATENCIES}:{slot}"


def process(process_id: str) -> str:
    """What a process says of itself."""
    return f"process:{process_id}"


def reported(process_id: str) -> str:
    """The last report of a process."""
    return f"reported:{process_id}"


def announced(process_id: str) -> str:
    """The last batch that a process has announced."""
    return f"announced:{process_id}"
