-- The file of a monolite runtime, format 1.
--
-- The life of a workflow. `monolite_runs` gets a row when it is spawned. Its code runs until it
-- waits; everything it then learns from outside becomes a journal entry: one row, written when
-- the thing has happened (an activity's outcome, a timer that fired, a child's end). A message
-- is a row of `monolite_inbox`; when it is delivered it gets its position `n` in the journal,
-- and that row is the journal entry. Replaying a run = delivering journal and inbox rows again,
-- ordered by n. The end is written into the run's own row.
--
-- Times are microseconds since 1970, UTC. Values are JSON text. The tables of the application
-- may live in the same file; ours begin with `monolite_`.

-- One row: what this file is, and which engine owns it now.
CREATE TABLE monolite_file (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    format   INTEGER NOT NULL,
    file_id  TEXT    NOT NULL,
    made_us  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    owner    TEXT
) STRICT;

-- One row per run. The engine numbers runs evenly, other processes oddly, so that neither
-- needs the other's counter.
CREATE TABLE monolite_runs (
    no          INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'paused',
                    'blocked', 'diverged', 'stranded', 'completed', 'failed', 'cancelled',
                    'terminated', 'continued')),
    args        TEXT    NOT NULL,
    created_us  INTEGER NOT NULL,
    started_us  INTEGER,
    ended_us    INTEGER,
    wake_at_us  INTEGER,
    parent_no   INTEGER,
    parent_id   TEXT,
    parent_key  TEXT,
    value       TEXT,
    error       TEXT,
    waiting_on  TEXT,
    attributes  TEXT,
    updated_us  INTEGER NOT NULL,
    seed        TEXT,
    -- Of a run that goes through a queue. Waiting there, it is 'queued', and NULL in wake_at_us
    -- from when it is due; from started_us to ended_us it holds one of the queue's slots.
    queue       TEXT,
    queue_key   TEXT,
    priority    INTEGER,
    queued_us   INTEGER,
    dedupe      TEXT,
    CHECK ((queue IS NULL) = (queued_us IS NULL)),
    CHECK ((ended_us IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled', 'terminated',
        'continued'))),
    CHECK (ended_us IS NULL OR wake_at_us IS NULL)
) STRICT;

CREATE UNIQUE INDEX monolite_runs_id ON monolite_runs (id, generation);
-- Who wants to be woken, and when. Runs that only wait for messages are not in it.
CREATE INDEX monolite_runs_wake ON monolite_runs (wake_at_us, no) WHERE wake_at_us IS NOT NULL;
CREATE INDEX monolite_runs_queued ON monolite_runs (wake_at_us) WHERE status = 'queued';
CREATE INDEX monolite_runs_parked ON monolite_runs (no) WHERE status IN ('diverged', 'stranded');

-- Queues: who waits in one (to be read at start-up, without the table), who runs, who failed.
CREATE INDEX monolite_runs_tickets
    ON monolite_runs (no, queue, queue_key, priority, queued_us, wake_at_us, status)
    WHERE status = 'queued' AND queue IS NOT NULL;
CREATE INDEX monolite_runs_held ON monolite_runs (queue, queue_key)
    WHERE queue IS NOT NULL AND started_us IS NOT NULL AND ended_us IS NULL;
CREATE INDEX monolite_runs_dead ON monolite_runs (queue, no)
    WHERE queue IS NOT NULL AND status = 'failed';
CREATE INDEX monolite_runs_dedupe ON monolite_runs (queue, dedupe)
    WHERE dedupe IS NOT NULL AND status = 'queued';

-- Queues: what code declared when it last said so, the limits in force, and what must survive
-- (`state`: the tokens that are out, the breaker). `seen` is what the engine last saw there: it
-- may be a second old. Other processes change limits and paused.
CREATE TABLE monolite_queues (
    name      TEXT    PRIMARY KEY,
    declared  TEXT,
    limits    TEXT    NOT NULL,
    paused    INTEGER NOT NULL CHECK (paused IN (0, 1)),
    state     TEXT,
    seen      TEXT
) STRICT, WITHOUT ROWID;

-- What each run has learned, in order. Together with delivered inbox rows this is its journal.
CREATE TABLE monolite_journal (
    run_no  INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    args    TEXT,
    value   TEXT,
    error   TEXT,
    PRIMARY KEY (run_no, n)
) STRICT, WITHOUT ROWID;

-- Messages to runs. n is NULL until delivered; seq is the order of the file. An update is
-- answered in its own row. One with a due_us is delivered no sooner; when its time has come and
-- it must wait all the same, that is cleared. n = -1: it has no place in the journal; superseded
-- or turned away, as `refusal` says; or a pause, a resume, a decision on what is blocked. `outside`
-- is 1 until the engine has held a message of another process to the mailbox of its handler.
CREATE TABLE monolite_inbox (
    seq         INTEGER PRIMARY KEY,
    run_no      INTEGER NOT NULL,
    n           INTEGER,
    at_us       INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('signal', 'update', 'cancel', 'terminate', 'pause',
                    'resume', 'retry', 'skip', 'set_result', 'answer')),
    channel     TEXT    NOT NULL,
    message_id  TEXT,
    value       TEXT    NOT NULL,
    answer      TEXT,
    refusal     TEXT,
    due_us      INTEGER,
    outside     INTEGER
) STRICT;

CREATE INDEX monolite_inbox_run ON monolite_inbox (run_no, n, due_us);
CREATE UNIQUE INDEX monolite_inbox_once ON monolite_inbox (run_no, message_id)
    WHERE message_id IS NOT NULL;
CREATE INDEX monolite_inbox_waiting ON monolite_inbox (seq) WHERE n IS NULL AND due_us IS NULL;
CREATE INDEX monolite_inbox_channel ON monolite_inbox (run_no, channel) WHERE n IS NULL;
CREATE INDEX monolite_inbox_due ON monolite_inbox (due_us) WHERE n IS NULL AND due_us IS NOT NULL;

-- The stored state of actors. Journal entries below retired_n belong to turns that have ended.
CREATE TABLE monolite_states (
    run_no     INTEGER PRIMARY KEY,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    retired_n  INTEGER NOT NULL
) STRICT;

-- Values above 64 KiB, by their hash; the rows that hold them say "blob:<hash>" instead.
CREATE TABLE monolite_blobs (
    hash   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT;

-- The same for what is replaced again and again: an actor's state (slot 'state') and views (slot
-- 'view:' and the name). Their rows say 'large:' instead. Only the newest value is kept.
CREATE TABLE monolite_large (
    run_no  INTEGER NOT NULL,
    slot    TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    PRIMARY KEY (run_no, slot)
) STRICT;

-- Runs that were executing when the process died: how often in a row, having learned n entries.
-- Counted with the next epoch, before their code runs again.
CREATE TABLE monolite_deaths (
    run_no  INTEGER PRIMARY KEY,
    n       INTEGER NOT NULL,
    count   INTEGER NOT NULL
) STRICT;

-- Attempts worth a row: failed, interrupted, long, with heartbeats, or to run at most once.
CREATE TABLE monolite_attempts (
    run_no   INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('started', 'interrupted', 'failed', 'returned',
                 'stopped', 'blocked', 'released', 'deferred')),
    at_us    INTEGER NOT NULL,
    due_us   INTEGER,
    error    TEXT,
    details  TEXT,
    PRIMARY KEY (run_no, key, number)
) STRICT, WITHOUT ROWID;

-- What waits for somebody's decision.
CREATE INDEX monolite_attempts_blocked ON monolite_attempts (run_no) WHERE state = 'blocked';

-- The latest value of each view.
CREATE TABLE monolite_views (
    run_no  INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    PRIMARY KEY (run_no, name)
) STRICT, WITHOUT ROWID;

-- What has become small again leaves nothing behind.
CREATE TRIGGER monolite_states_small AFTER UPDATE OF state ON monolite_states
WHEN old.state = 'large:' AND new.state <> 'large:'
BEGIN DELETE FROM monolite_large WHERE run_no = new.run_no AND slot = 'state'; END;
CREATE TRIGGER monolite_views_small AFTER UPDATE OF value ON monolite_views
WHEN old.value = 'large:' AND new.value <> 'large:'
BEGIN DELETE FROM monolite_large WHERE run_no = new.run_no AND slot = 'view:' || new.name; END;

-- Streams: `items` is a JSON array, the first of them at position `first` (from 1). `source` is
-- the operation whose activity appended them, '' for the run's own code.
CREATE TABLE monolite_streams (
    run_no  INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    first   INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    source  TEXT    NOT NULL,
    items   TEXT    NOT NULL,
    PRIMARY KEY (run_no, name, first)
) STRICT, WITHOUT ROWID;

-- Runs that wait for the end of a run which is not their child.
CREATE TABLE monolite_links (
    target_no  INTEGER NOT NULL,
    waiter_no  INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    PRIMARY KEY (target_no, waiter_no, key)
) STRICT, WITHOUT ROWID;

-- Schedules. next_us is the first tick that is not handled yet; whoever changes a row gives it a
-- new revision, so that an engine and another process cannot undo each other's changes.
CREATE TABLE monolite_schedules (
    name         TEXT    PRIMARY KEY,
    workflow     TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    args         TEXT    NOT NULL,
    spec         TEXT    NOT NULL,
    declared_us  INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    paused       INTEGER NOT NULL CHECK (paused IN (0, 1)),
    next_us      INTEGER,
    last_us      INTEGER,
    last_id      TEXT,
    open         TEXT    NOT NULL,
    buffered_us  INTEGER,
    backfill     TEXT    NOT NULL,
    skipped      INTEGER NOT NULL,
    skipped_us   INTEGER,
    missed       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For people, whose SQLite may be older than ours: strftime, as `subsec` came with 3.42.
-- What did it do? SELECT * FROM monolite_timeline WHERE id = 'order-42';
CREATE VIEW monolite_timeline AS
SELECT r.id, r.generation, e.n,
       strftime('%Y-%m-%d %H:%M:%f', e.at_us / 1000000.0, 'unixepoch') AS at,
       e.kind, e.key, e.args,
       CASE WHEN e.value LIKE 'blob:%'
            THEN (SELECT value FROM monolite_blobs WHERE hash = substr(e.value, 6))
            ELSE e.value END AS value,
       e.error
FROM (SELECT run_no, n, at_us, kind, key, args, value, error FROM monolite_journal
      UNION ALL
      SELECT run_no, n, at_us, kind, channel, NULL, value, refusal FROM monolite_inbox) AS e
JOIN monolite_runs AS r ON r.no = e.run_no
ORDER BY r.id, r.generation, e.n;

-- For people: what is open, and why?
CREATE VIEW monolite_open AS
SELECT id, name, status,
       coalesce(waiting_on, CASE status WHEN 'queued' THEN 'queue ' || queue END) AS waiting_on,
       strftime('%Y-%m-%d %H:%M:%f', nullif(wake_at_us, 0) / 1000000.0, 'unixepoch') AS wake_at,
       strftime('%Y-%m-%d %H:%M:%f', created_us / 1000000.0, 'unixepoch') AS created_at
FROM monolite_runs WHERE ended_us IS NULL ORDER BY no;
