-- Every statement of the SQLite store. A line "-- name: purpose" starts each one.

-- epoch: the owner's number, read inside every write transaction
SELECT epoch FROM monolite_file WHERE one = 1

-- file: what this file is
SELECT format, file_id, epoch, owner FROM monolite_file WHERE one = 1

-- create_file: the row of a new file
INSERT INTO monolite_file (one, format, file_id, made_us, epoch, owner) VALUES (1, ?, ?, ?, 0, NULL)

-- take_over: become the owner with the next epoch
UPDATE monolite_file SET epoch = epoch + 1, owner = ? WHERE one = 1 RETURNING epoch

-- insert_run: a new run
INSERT INTO monolite_runs (no, id, generation, name, version, status, args, created_us, started_us,
    wake_at_us, parent_no, parent_id, parent_key, attributes, updated_us, seed, queue, queue_key,
    priority, queued_us, dedupe)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- insert_entry: one journal entry
INSERT INTO monolite_journal (run_no, n, at_us, kind, key, args, value, error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- insert_message: a message, delivered (n) or waiting (NULL)
INSERT INTO monolite_inbox (run_no, n, at_us, kind, channel, message_id, value, answer, refusal,
    due_us, outside)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- take_message: a waiting message was delivered as entry n
UPDATE monolite_inbox SET n = ?, at_us = ? WHERE seq = ? AND n IS NULL

-- hold_message: a waiting message that is to wait until later, or was admitted
UPDATE monolite_inbox SET due_us = ?, outside = ? WHERE seq = ? AND n IS NULL

-- turn_away: a waiting message that is not to be delivered, and why
UPDATE monolite_inbox SET n = -1, at_us = ?, refusal = ? WHERE seq = ? AND n IS NULL

-- answer_message: an update's answer or refusal, once
UPDATE monolite_inbox SET answer = ?, refusal = ?
WHERE run_no = ? AND message_id = ? AND answer IS NULL AND refusal IS NULL

-- refuse_entry: why the turn of a one-way message was rolled back
UPDATE monolite_inbox SET refusal = ? WHERE run_no = ? AND n = ?

-- move_message: a message that was not received goes over to the run that continues
UPDATE monolite_inbox SET run_no = ?, n = ?, at_us = ? WHERE run_no = ? AND n = ?

-- redirect_message: a message that waits, now for the run that continues its own
UPDATE monolite_inbox SET run_no = ? WHERE seq = ?

-- move_views: what a continued run had published
UPDATE monolite_views SET run_no = ? WHERE run_no = ?

-- move_links: who waits for the end of a continued run
UPDATE monolite_links SET target_no = ? WHERE target_no = ?

-- append_items: what one commit appends to a stream
INSERT INTO monolite_streams (run_no, name, first, count, source, items) VALUES (?, ?, ?, ?, ?, ?)

-- move_streams: what a continued run has put out; its operations are none of the new one's
UPDATE monolite_streams SET run_no = ?, source = '' WHERE run_no = ?

-- put_state: an actor's state after a turn
INSERT INTO monolite_states (run_no, version, state, retired_n) VALUES (?, ?, ?, ?)
ON CONFLICT (run_no) DO UPDATE SET version = excluded.version, state = excluded.state,
    retired_n = excluded.retired_n

-- retire_turn: a turn that left an actor's state as it was
UPDATE monolite_states SET retired_n = ? WHERE run_no = ?

-- forget_entries: entries of turns that ended long ago
DELETE FROM monolite_journal WHERE run_no = ? AND n < ?

-- put_blob: a large value, once
INSERT INTO monolite_blobs (hash, value) VALUES (?, ?) ON CONFLICT DO NOTHING

-- put_large: the newest large value of a state or view
INSERT INTO monolite_large (run_no, slot, value) VALUES (?, ?, ?)
ON CONFLICT (run_no, slot) DO UPDATE SET value = excluded.value

-- move_large: the large views of a continued run
UPDATE monolite_large SET run_no = ? WHERE run_no = ?

-- put_view: the new value of a view
INSERT INTO monolite_views (run_no, name, value) VALUES (?, ?, ?)
ON CONFLICT (run_no, name) DO UPDATE SET value = excluded.value

-- put_attempt: the newest state of an attempt
INSERT INTO monolite_attempts (run_no, key, number, state, at_us, due_us, error, details)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_no, key, number) DO UPDATE SET state = excluded.state, due_us = excluded.due_us,
    error = excluded.error, details = coalesce(excluded.details, details)

-- put_link: a run waits for the end of another
INSERT INTO monolite_links (target_no, waiter_no, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- delete_links: the target has ended and its waiters know
DELETE FROM monolite_links WHERE target_no = ?

-- note_run: what an open run waits for and when to wake it
UPDATE monolite_runs SET status = ?, wake_at_us = ?, waiting_on = ?, updated_us = ?,
    started_us = coalesce(started_us, ?), error = ?, version = coalesce(?, version)
WHERE no = ? AND ended_us IS NULL

-- put_version: the run goes on with another version's code
UPDATE monolite_runs SET version = ? WHERE no = ?

-- end_run: the run's end, once
UPDATE monolite_runs SET status = ?, value = ?, error = ?, ended_us = ?, updated_us = ?,
    wake_at_us = NULL, waiting_on = NULL
WHERE no = ? AND ended_us IS NULL

-- run: one run by number
SELECT no, id, generation, name, version, status, args, created_us, started_us, ended_us,
    wake_at_us, parent_no, parent_id, parent_key, value, error, waiting_on, attributes, updated_us,
    seed, queue, queue_key, priority, queued_us, dedupe
FROM monolite_runs WHERE no = ?

-- run_by_id: the newest run of an id
SELECT no, id, generation, name, version, status, args, created_us, started_us, ended_us,
    wake_at_us, parent_no, parent_id, parent_key, value, error, waiting_on, attributes, updated_us,
    seed, queue, queue_key, priority, queued_us, dedupe
FROM monolite_runs WHERE id = ? ORDER BY generation DESC LIMIT 1

-- runs: newest first, everything that matches what is given
SELECT no, id, generation, name, version, status, args, created_us, started_us, ended_us,
    wake_at_us, parent_no, parent_id, parent_key, value, error, waiting_on, attributes, updated_us,
    seed, queue, queue_key, priority, queued_us, dedupe
FROM monolite_runs
WHERE no < :before_no
  AND (:status IS NULL OR status = :status OR (:status = 'waiting' AND status = 'stranded'))
  AND (:name IS NULL OR name = :name)
  AND (:id_prefix IS NULL OR substr(id, 1, length(:id_prefix)) = :id_prefix)
  AND (:parent IS NULL OR parent_id = :parent)
  AND (NOT :open OR ended_us IS NULL)
  AND (:queue IS NULL OR queue = :queue)
  AND NOT EXISTS (
      SELECT 1 FROM json_each(:attributes) AS wanted
      WHERE NOT EXISTS (SELECT 1 FROM json_each(monolite_runs.attributes) AS has
                        WHERE has.key = wanted.key AND has.value IS wanted.value
                          -- true is 1 and [1] is '[1]' to SQLite, but not to JSON
                          AND replace(has.type, 'integer', 'real')
                            = replace(wanted.type, 'integer', 'real')))
ORDER BY no DESC LIMIT :limit

-- counts: how many runs there are of each status
SELECT status, count(*) FROM monolite_runs GROUP BY status

-- entries: a run's journal, its delivered messages among its entries
SELECT n, at_us, kind, key, args, value, error FROM monolite_journal WHERE run_no = :no AND n >= :from_n
UNION ALL
SELECT n, at_us, kind, channel, message_id, value, refusal FROM monolite_inbox
WHERE run_no = :no AND n >= :from_n
ORDER BY 1 LIMIT :limit

-- attempts: what is known of a run's attempts
SELECT run_no, key, number, state, at_us, due_us, error, details FROM monolite_attempts
WHERE run_no = ? ORDER BY key, number

-- blocked: activities that wait for somebody's decision
SELECT r.id, a.key, a.number, a.error
FROM monolite_attempts AS a JOIN monolite_runs AS r ON r.no = a.run_no
WHERE a.state = 'blocked' AND r.ended_us IS NULL ORDER BY a.run_no LIMIT ?

-- undelivered: a run's waiting messages, delayed ones too
SELECT run_no, kind, channel, value, at_us, message_id, n, seq, due_us, outside FROM monolite_inbox
WHERE run_no = ? AND n IS NULL

-- waiting: a run's messages that wait for nothing but their turn, in file order, by the page
SELECT run_no, kind, channel, value, at_us, message_id, n, seq, due_us, outside FROM monolite_inbox
WHERE run_no = ? AND n IS NULL AND due_us IS NULL AND seq > ? ORDER BY seq LIMIT ?

-- waiting_on_channel: a run's waiting messages of one name, delayed ones too
SELECT run_no, kind, channel, value, at_us, message_id, n, seq, due_us, outside FROM monolite_inbox
WHERE run_no = ? AND channel = ? AND n IS NULL ORDER BY seq

-- messages_after: everybody's waiting messages since a sequence number
SELECT run_no, kind, channel, value, at_us, message_id, n, seq, due_us, outside FROM monolite_inbox
WHERE n IS NULL AND due_us IS NULL AND seq > ? ORDER BY seq LIMIT ?

-- messages_due: delayed messages whose time has come
SELECT run_no, kind, channel, value, at_us, message_id, n, seq, due_us, outside FROM monolite_inbox
WHERE n IS NULL AND due_us IS NOT NULL AND due_us <= ? ORDER BY due_us, seq LIMIT ?

-- next_message_due: when the next delayed message is due
SELECT min(due_us) FROM monolite_inbox WHERE n IS NULL AND due_us IS NOT NULL

-- answer: what came of a message
SELECT answer, refusal FROM monolite_inbox WHERE run_no = ? AND message_id = ?

-- answer_of_line: the same, where the run continues others: whatever any of them accepted
SELECT answer, refusal FROM monolite_inbox
WHERE message_id = :message_id AND run_no IN (
    SELECT no FROM monolite_runs WHERE id = :id AND generation > coalesce((
        SELECT max(generation) FROM monolite_runs
        WHERE id = :id AND generation < :generation AND status <> 'continued'), 0))
LIMIT 1

-- stream_length: how many items a stream has
SELECT coalesce((SELECT first + count - 1 FROM monolite_streams
                 WHERE run_no = ? AND name = ? ORDER BY first DESC LIMIT 1), 0)

-- stream_source: how many of a stream's items one operation has appended
SELECT coalesce(sum(count), 0) FROM monolite_streams WHERE run_no = ? AND name = ? AND source = ?

-- stream: a stream's items behind a position
SELECT first, items FROM monolite_streams
WHERE run_no = ? AND name = ? AND first + count - 1 > ? ORDER BY first LIMIT ?

-- state: an actor's stored state
SELECT version, CASE state WHEN 'large:' THEN
    (SELECT value FROM monolite_large AS big WHERE big.run_no = own.run_no AND slot = 'state')
    ELSE state END, retired_n
FROM monolite_states AS own WHERE run_no = ?

-- blob: a large value
SELECT value FROM monolite_blobs WHERE hash = ?

-- blame: a run was executing when the process died; in a row, if it has learned nothing since
INSERT INTO monolite_deaths (run_no, n, count)
SELECT no, learned, 1
FROM (SELECT no, (SELECT count(*) FROM monolite_journal WHERE run_no = :no)
               + (SELECT count(*) FROM monolite_inbox WHERE run_no = :no AND n >= 0) AS learned
      FROM monolite_runs WHERE no = :no AND ended_us IS NULL)
WHERE true
ON CONFLICT (run_no) DO UPDATE SET n = excluded.n,
    count = CASE WHEN n = excluded.n THEN count + 1 ELSE 1 END

-- forget_blames: runs that ended have nothing to answer for
DELETE FROM monolite_deaths
WHERE EXISTS (SELECT 1 FROM monolite_runs WHERE no = run_no AND ended_us IS NOT NULL)

-- pardon: a run's code may be executed again
DELETE FROM monolite_deaths WHERE run_no = ?

-- blames: how often each run was executing when the process died, in a row
SELECT run_no, count FROM monolite_deaths

-- patches: the marks of a run's `patched`
SELECT key FROM monolite_journal WHERE run_no = ? AND kind = 'patch'

-- view: the value of a view
SELECT CASE value WHEN 'large:' THEN
    (SELECT big.value FROM monolite_large AS big
     WHERE big.run_no = own.run_no AND slot = 'view:' || own.name)
    ELSE value END
FROM monolite_views AS own WHERE run_no = ? AND name = ?

-- due: open runs to look at, in order of their time
SELECT wake_at_us, no FROM monolite_runs
WHERE wake_at_us IS NOT NULL AND (wake_at_us, no) > (?, ?) AND wake_at_us <= ?
ORDER BY wake_at_us, no LIMIT ?

-- next_due: when the next open run wants to be woken
SELECT min(wake_at_us) FROM monolite_runs WHERE wake_at_us IS NOT NULL AND wake_at_us > ?

-- queued: runs that wait to be started and are due, those that go through a queue aside
SELECT no FROM monolite_runs WHERE status = 'queued' AND queue IS NULL AND wake_at_us <= ?
ORDER BY wake_at_us LIMIT ?

-- tickets: runs that wait in queues, or will, by number after `no`
SELECT no, queue, queue_key, priority, queued_us, wake_at_us FROM monolite_runs
WHERE status = 'queued' AND queue IS NOT NULL AND no > ? ORDER BY no LIMIT ?

-- holders: runs that hold a slot of their queue
SELECT no, queue, queue_key FROM monolite_runs
WHERE queue IS NOT NULL AND started_us IS NOT NULL AND ended_us IS NULL

-- deduped: who waits in a queue under a dedupe key
SELECT no, queued_us FROM monolite_runs
WHERE queue = ? AND dedupe = ? AND status = 'queued' ORDER BY no LIMIT 1

-- release_dedupe: one that waits no longer stands for its dedupe key
UPDATE monolite_runs SET dedupe = NULL WHERE no = ?

-- dead: failed runs of a queue that nobody spawned again
SELECT no FROM monolite_runs AS dead
WHERE queue = ? AND status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM monolite_runs AS next
    WHERE next.id = dead.id AND next.generation > dead.generation)
ORDER BY no LIMIT ?

-- queues_waiting: how many runs wait in each queue
SELECT queue, count(*) FROM monolite_runs WHERE status = 'queued' AND queue IS NOT NULL
GROUP BY queue

-- queues_running: how many runs hold a slot of each queue
SELECT queue, count(*) FROM monolite_runs
WHERE queue IS NOT NULL AND started_us IS NOT NULL AND ended_us IS NULL GROUP BY queue

-- queues_dead: how many failed runs of each queue nobody spawned again
SELECT queue, count(*) FROM monolite_runs AS dead
WHERE queue IS NOT NULL AND status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM monolite_runs AS next
    WHERE next.id = dead.id AND next.generation > dead.generation)
GROUP BY queue

-- requeue_run: a run that waits, with other arguments or at another time
UPDATE monolite_runs SET args = ?, version = ?, wake_at_us = ?, queued_us = ?, updated_us = ?
WHERE no = ? AND status = 'queued'

-- queues: every queue
SELECT name, declared, limits, paused, state, seen FROM monolite_queues ORDER BY name

-- put_queue: a queue's limits, and whether it is paused
INSERT INTO monolite_queues (name, declared, limits, paused) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET declared = excluded.declared, limits = excluded.limits,
    paused = excluded.paused

-- put_queue_state: what of a queue must survive
UPDATE monolite_queues SET state = ? WHERE name = ?

-- put_queue_seen: what the engine sees in a queue
UPDATE monolite_queues SET seen = ? WHERE name = ?

-- parked: runs that stopped for want of fitting code
SELECT no FROM monolite_runs WHERE status IN ('diverged', 'stranded') AND no > ?
ORDER BY no LIMIT ?

-- links: who waits for the end of whom
SELECT target_no, waiter_no, key FROM monolite_links

-- max_run_no: the highest run number
SELECT coalesce(max(no), 0) FROM monolite_runs

-- max_seq: the inbox's last sequence number
SELECT coalesce(max(seq), 0) FROM monolite_inbox

-- schedules: every schedule
SELECT name, workflow, version, args, spec, declared_us, revision, paused, next_us, last_us,
    last_id, open, buffered_us, backfill, skipped, skipped_us, missed
FROM monolite_schedules ORDER BY name

-- schedule: one schedule
SELECT name, workflow, version, args, spec, declared_us, revision, paused, next_us, last_us,
    last_id, open, buffered_us, backfill, skipped, skipped_us, missed
FROM monolite_schedules WHERE name = ?

-- schedule_revisions: which schedules somebody has changed
SELECT name, revision FROM monolite_schedules

-- insert_schedule: a new schedule, unless somebody else has made it meanwhile
INSERT INTO monolite_schedules (name, workflow, version, args, spec, declared_us, revision, paused,
    next_us, last_us, last_id, open, buffered_us, backfill, skipped, skipped_us, missed)
VALUES (:name, :workflow, :version, :args, :spec, :declared_us, :revision, :paused, :next_us,
    :last_us, :last_id, :open, :buffered_us, :backfill, :skipped, :skipped_us, :missed)
ON CONFLICT DO NOTHING

-- update_schedule: a schedule that nobody has changed since it was read
UPDATE monolite_schedules SET workflow = :workflow, version = :version, args = :args, spec = :spec,
    declared_us = :declared_us, revision = :revision, paused = :paused, next_us = :next_us,
    last_us = :last_us, last_id = :last_id, open = :open, buffered_us = :buffered_us,
    backfill = :backfill, skipped = :skipped, skipped_us = :skipped_us, missed = :missed
WHERE name = :name AND revision = :was

-- delete_schedule: one that nobody has changed since it was read
DELETE FROM monolite_schedules WHERE name = ? AND revision = ?
