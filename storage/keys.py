"""Every key and channel of the store, by name; no other file spells one.

Keys of one context share the hash tag `{id}`, hence one cluster slot.

| Key | Type | Holds | Written by |
|---|---|---|---|
| `ctx:{id}:meta` | hash | owner, token, worker, version, n, mail_seq, summary | create, deliver, activate, commit, draft, passivate |
| `ctx:{id}:mail` | stream | undelivered actions, `<seq>-0` | deliver adds, commit trims |
| `ctx:{id}:log` | stream | events as JSON, `<version>-0` | create, commit |
| `ctx:{id}:draft` | string | text of the reply that has arrived and is not committed | draft, commit |
| `ctx:{id}:keys` | hash | idempotency key -> seq and body digest, the last `results_max` | deliver, commit |
| `ctx:{id}:results` | hash | seq -> what became of the action, the last `results_max` | commit |
| `ctx:{id}:snap` | hash | version, head: the state without its messages | commit |
| `ctx:{id}:msgs` | list | messages of the snapshot as JSON | commit |
| `owner:<owner>:notes` | hash | note key -> when (ms) and text | storage/notes.py |
| `ready` | zset | contexts with undelivered mail, or whose worker died; score: since when (ms) | deliver, bury add; commit removes |
| `owner:<owner>:contexts` | zset | ids of the owner's contexts, by id (UUIDv7: by age) | create, delete |
| `create:<owner>:<key>` | string, 24 h | id and digest of the context that an Idempotency-Key created | create |
| `worker:<id>:session` | string, session_ms | the worker lives | renew |
| `worker:<id>:contexts` | set | contexts that the worker has active | activate, passivate, bury |
| `workers` | zset | worker ids; score: since when (ms) | renew, bury |
| `epoch` | hash | n: grows when the store may have lost commits; run_id, durability | open |
| `rq:*` | | rq's own: queue, jobs, registries, workers | storage/enqueue.py, workers/dequeue.py |

| Channel | Carries | From -> to |
|---|---|---|
| `ctx:{id}:feed` | commit and draft frames (`storage/frames.py`) | commit, draft, delete -> gateways |
| `worker:<id>:mail` | mail of active contexts | deliver -> the worker |
| `workers:wake` | somebody was buried: look at `ready` now | bury -> workers |
"""

READY = "ready"
WORKERS = "workers"
EPOCH = "epoch"
WAKE = "workers:wake"


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


def creation(owner: str, key: str) -> str:
    """What an owner's Idempotency-Key has created."""
    return f"create:{owner}:{key}"


def session(worker_id: str) -> str:
    """The key that says a worker lives."""
    return f"worker:{worker_id}:session"


def worker_contexts(worker_id: str) -> str:
    """The contexts that a worker has active."""
    return f"worker:{worker_id}:contexts"


def worker_mail(worker_id: str) -> str:
    """Channel of the mail for contexts that are active on a worker."""
    return f"worker:{worker_id}:mail"


def notes(owner: str) -> str:
    """The notes that an owner keeps."""
    return f"owner:{owner}:notes"
