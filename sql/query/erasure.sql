-- Erasure of persons (D27; schema in 004_erasure.sql): the requests, and the steps of the
-- keeper (worker/jobs/eraser.c), each of which may be repeated.

-- name: erase :one
-- lane: tx
-- volatile: hides people
-- params: project int4, new_id text, id text, data_subject bool, events bool, seen int8, delay_us int8, requested_by text
-- columns: request_id text?, state int4?, seen int8, again bool
-- One statement, one transaction, alone in the project. No row: the project is gone. What
-- the parameters mean stands at pugd.erase().
SELECT e.request_id, e.state::int4, e.seen, e.again
FROM pugd.erase($1, $2, $3, $4, $5, $6, $7, $8) e;

-- name: erasure_get :one
-- params: project int4, id text
-- columns: profile_id text?, external_id text?, state int4, events int8, requested_at timestamptz, completed_at timestamptz?, error text?
-- By primary key.
SELECT profile_id, external_id, state::int4, events, requested_at, completed_at, error
FROM pugd.erasures WHERE project = $1 AND id = $2;

-- name: erasure_undo :one
-- lane: tx
-- volatile: brings people back
-- params: project_id text, id text
-- columns: request_id text?, outcome int4
SELECT u.request_id, u.outcome FROM pugd.erasure_undo($1, $2) u;

-- name: scan_tombstones :many
-- lane: slow
-- params: project int4
-- columns: distinct_id text, high int8
-- unbounded: streamed; one row an id that is being erased
-- Who is hidden from a scan, in its snapshot.
SELECT distinct_id, max(high) FROM pugd.tombstones WHERE project = $1 GROUP BY distinct_id;

-- name: erase_due :one
-- params: after int4
-- columns: project int4
-- The next project with something to erase; by erasures_open_idx, which is small.
SELECT project FROM pugd.erasures
WHERE state <> 3 AND project > $1
  AND (state = 2 OR (state = 1 AND due_at <= now() AND pugd.erasure_ready(fence)))
ORDER BY project
LIMIT 1;

-- name: erase_admit :exec
-- params: project int4, most int4
-- What is due begins, all of it at once, for one pass over the events; but not while a pass
-- is under way, whose end would move away with every newcomer.
UPDATE pugd.erasures SET state = 2, level = 0, cursor = 0, update_time = now()
WHERE project = $1 AND state = 1 AND id IN (
  SELECT e.id FROM pugd.erasures e
  WHERE e.project = $1 AND e.state = 1 AND e.due_at <= now() AND pugd.erasure_ready(e.fence)
    AND NOT EXISTS (SELECT FROM pugd.erasures o WHERE o.project = $1 AND o.state = 2)
  ORDER BY e.high LIMIT $2 FOR UPDATE SKIP LOCKED);

-- name: erase_group :many
-- params: project int4
-- columns: id text, profile_id text?, high int8, level int4, cursor int8
-- What is under way, the earliest first.
SELECT id, profile_id, high, level::int4, cursor FROM pugd.erasures
WHERE project = $1 AND state = 2 ORDER BY high, id LIMIT 10000;

-- name: erase_ids :many
-- params: project int4
-- columns: erasure text, distinct_id text, high int8
-- unbounded: all ids of those who are being erased; the caller's arena is the bound
SELECT t.erasure, t.distinct_id, t.high FROM pugd.tombstones t
JOIN pugd.erasures e ON e.project = t.project AND e.id = t.erasure AND e.state = 2
WHERE t.project = $1 ORDER BY t.high, t.erasure;

-- name: erase_scan :many
-- lane: slow
-- params: project int4, after int8, high int8, batch int4
-- columns: id int8, data bytea
-- Level 0 from the cursor on, by primary key; streamed.
SELECT id, data FROM pugd.inbox
WHERE project = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4;

-- name: erase_blob :one
-- params: project int4, id int8
-- columns: n int4, stored int4, receive_day date, refused int4[]?, data bytea
-- To be written anew; locked, because two keepers may be at it: in ascending order of ids,
-- and before usage_days. None: it is gone meanwhile.
SELECT n, stored, receive_day, refused, data FROM pugd.inbox
WHERE project = $1 AND id = $2 FOR UPDATE;

-- name: erase_replace :exec
-- params: project int4, id int8, n int4, tmin int8, tmax int8, data bytea
-- Nothing in it is refused any more, so all are stored.
UPDATE pugd.inbox SET n = $3, stored = $3, tmin = $4, tmax = $5, refused = NULL, data = $6
WHERE project = $1 AND id = $2;

-- name: erase_remove :exec
-- params: project int4, id int8
-- A blob of which nothing is left.
DELETE FROM pugd.inbox WHERE project = $1 AND id = $2;

-- name: erase_usage :exec
-- params: project int4, days date[], n int8[]
-- What went from the inbox stays counted (D42). Days in one order: no deadlocks.
INSERT INTO pugd.usage_days (project, day, events)
SELECT $1, u.day, sum(u.n) FROM unnest($2, $3) u (day, n)
GROUP BY u.day HAVING sum(u.n) > 0 ORDER BY u.day
ON CONFLICT (project, day) DO UPDATE SET events = usage_days.events + excluded.events;

-- name: erase_segments :many
-- lane: slow
-- params: project int4, after int8, high int8, batch int4
-- columns: id int8, day date, n int4, place int8, raw int4?, crc int4?, data bytea?
-- Level 1 from the cursor on: of each segment the column of distinct_ids (part 4); streamed.
SELECT s.id, s.day, s.n, s.place, c.raw, c.crc, c.data
FROM (
  SELECT id, day, n, place FROM pugd.segment
  WHERE project = $1 AND id > $2 AND place < $3 ORDER BY id LIMIT $4
) s
LEFT JOIN pugd.segment_column c
  ON c.project = $1 AND c.segment = s.id AND c.part = 4 AND c.scope = 0 AND c.key = ''
ORDER BY s.id;

-- name: erase_later :many
-- lane: slow
-- params: project int4, after int8, low int8, batch int4
-- columns: id int8, n int4, place int8, raw int4?, crc int4?, data bytea?
-- What may hold ids of erased persons again, because somebody new has come by them; as
-- erase_segments.
SELECT s.id, s.n, s.place, c.raw, c.crc, c.data
FROM (
  SELECT id, n, place FROM pugd.segment
  WHERE project = $1 AND id > $2 AND place >= $3 ORDER BY id LIMIT $4
) s
LEFT JOIN pugd.segment_column c
  ON c.project = $1 AND c.segment = s.id AND c.part = 4 AND c.scope = 0 AND c.key = ''
ORDER BY s.id;

-- name: erase_count :exec
-- params: project int4, ids text[], n int8[]
UPDATE pugd.erasures e SET events = e.events + u.n
FROM unnest($2, $3) u (id, n) WHERE e.project = $1 AND e.id = u.id AND u.n > 0;

-- name: erase_move :exec
-- params: project int4, ids text[], level int4, cursor int8
-- Where these go on; never back, when another keeper is further.
UPDATE pugd.erasures SET level = $3, cursor = $4, update_time = now()
WHERE project = $1 AND id = ANY ($2) AND state = 2 AND (level, cursor) < ($3, $4);

-- name: erase_aliases :exec
-- params: project int4, profile_id text, batch int4
-- Of a dead profile, by aliases_profile_idx. Those that were given to somebody else
-- meanwhile are not among them.
DELETE FROM pugd.aliases WHERE project = $1 AND profile_id = $2 AND alias_id IN (
  SELECT a.alias_id FROM pugd.aliases a
  JOIN pugd.profiles p ON p.project = a.project AND p.id = a.profile_id AND p.deleted_at IS NOT NULL
  WHERE a.project = $1 AND a.profile_id = $2 ORDER BY a.alias_id LIMIT $3);

-- name: erase_finish :one
-- lane: tx
-- volatile: removes people
-- params: project int4, id text
-- columns: done bool
SELECT pugd.erasure_finish($1, $2);

-- name: erase_failed :exec
-- params: project int4, ids text[], error text
UPDATE pugd.erasures SET state = 4, error = $3, update_time = now()
WHERE project = $1 AND id = ANY ($2) AND state = 2;
