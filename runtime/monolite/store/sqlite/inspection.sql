-- Statements that look at a whole file; some read all of it. A line "-- name: purpose" starts each.

-- identity: what this file is, and who opened it last
SELECT format, file_id, made_us, epoch, owner FROM monolite_file WHERE one = 1

-- oldest_open: the run that has been open for the longest time
SELECT no FROM monolite_runs WHERE ended_us IS NULL ORDER BY no LIMIT 1

-- latest: when a run's row was last written
SELECT max(updated_us) FROM monolite_runs

-- children: the runs that a run started, in order
SELECT no FROM monolite_runs WHERE parent_no = ? ORDER BY no LIMIT ?

-- views: everything that a run has published
SELECT name, CASE value WHEN 'large:' THEN
    (SELECT big.value FROM monolite_large AS big
     WHERE big.run_no = own.run_no AND slot = 'view:' || own.name)
    ELSE value END
FROM monolite_views AS own WHERE run_no = ? ORDER BY name

-- quarantined: runs whose own code was executing whenever the process died
SELECT r.id, b.count, r.waiting_on
FROM monolite_deaths AS b JOIN monolite_runs AS r ON r.no = b.run_no
WHERE b.count >= ? AND r.ended_us IS NULL ORDER BY b.run_no

-- undelivered_count: how many messages wait in inboxes
SELECT count(*) FROM monolite_inbox WHERE n IS NULL

-- check: what SQLite finds wrong with the file, or one row "ok"
PRAGMA quick_check(10)
