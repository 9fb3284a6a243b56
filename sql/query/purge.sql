-- What a deleted project owned (worker/jobs/purge.c): one bounded batch a statement, each a
-- transaction of its own. SKIP LOCKED: keepers of several hosts share the work. A batch is
-- deleted as a range of the primary key up to its last row, and of that what was locked: of
-- a list of keys alone a planner with old statistics makes a walk over all that the project
-- has, for every batch. Usage stays counted (D42).

-- name: purge_next :one
-- params: grace_us int8, after int4
-- columns: project int4
-- The next project to work on, by projects_purge_idx. A claim that saw the project alive may
-- commit a moment after its deletion, hence the grace: longer than any claim lasts.
SELECT num FROM pugd.projects
WHERE deleted_at < now() - $1 * interval '1 microsecond' AND purged_at IS NULL
  AND num > $2
ORDER BY num
LIMIT 1;

-- name: purge_inbox :one
-- params: project int4, batch int4
-- columns: rows int4
-- Events go from the inbox and are added to their day in the same moment, so that usage
-- is right at any time. Days in one order: keepers do not deadlock.
WITH doomed AS (
  SELECT ctid, id FROM pugd.inbox WHERE project = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM pugd.inbox i
  WHERE i.project = $1 AND i.id <= (SELECT max(id) FROM doomed)
    AND i.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING i.receive_day, i.stored
), counted AS (
  INSERT INTO pugd.usage_days (project, day, events)
  SELECT $1, receive_day, sum(stored) FROM gone GROUP BY receive_day ORDER BY receive_day
  ON CONFLICT (project, day) DO UPDATE SET events = usage_days.events + excluded.events
)
SELECT count(*)::int4 FROM gone;

-- name: purge_segments :one
-- params: project int4, batch int4
-- columns: rows int4
-- Segments with their columns. What is in them was counted when it was sealed. In a
-- transaction of its own statement: a reader's snapshot has both or neither.
WITH doomed AS (
  SELECT ctid, day, id FROM pugd.segment WHERE project = $1
  ORDER BY day, id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM pugd.segment s
  WHERE s.project = $1 AND s.day <= (SELECT max(day) FROM doomed)
    AND s.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING s.id
), columns AS (
  DELETE FROM pugd.segment_column c
  WHERE c.project = $1 AND c.segment = ANY (ARRAY(SELECT id FROM gone))
)
SELECT count(*)::int4 FROM gone;

-- name: purge_seen_day :one
-- params: project int4, from_day date
-- columns: day date
-- The first day on or after from_day that has ids; partitions are probed in their order.
SELECT day FROM pugd.event_seen
WHERE project = $1 AND day >= $2
ORDER BY day
LIMIT 1;

-- name: purge_seen :one
-- params: project int4, day date, from_id uuid, batch int4
-- columns: rows int4, last uuid?
-- Ids of one day, so of one partition, in their order: the next batch starts at the last
-- one, instead of walking over what this batch has left dead.
WITH doomed AS (
  SELECT ctid, event_id FROM pugd.event_seen
  WHERE project = $1 AND day = $2 AND event_id >= $3
  ORDER BY event_id LIMIT $4 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM pugd.event_seen s
  WHERE s.project = $1 AND s.day = $2 AND s.event_id >= $3
    AND s.event_id <= (SELECT event_id FROM doomed ORDER BY event_id DESC LIMIT 1)
    AND s.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING s.event_id
)
SELECT (SELECT count(*) FROM gone)::int4,
       (SELECT event_id FROM doomed ORDER BY event_id DESC LIMIT 1);

-- name: purge_aliases :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid, alias_id FROM pugd.aliases WHERE project = $1
  ORDER BY alias_id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.aliases
WHERE project = $1 AND alias_id <= (SELECT alias_id FROM doomed ORDER BY alias_id DESC LIMIT 1)
  AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_profiles :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid, id FROM pugd.profiles WHERE project = $1
  ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.profiles
WHERE project = $1 AND id <= (SELECT id FROM doomed ORDER BY id DESC LIMIT 1)
  AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_imports :exec
-- params: project int4
DELETE FROM pugd.imports WHERE project = $1;

-- name: purge_tombstones :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid, erasure FROM pugd.tombstones WHERE project = $1
  ORDER BY erasure, distinct_id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.tombstones
WHERE project = $1 AND erasure <= (SELECT erasure FROM doomed ORDER BY erasure DESC LIMIT 1)
  AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_erasures :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid, id FROM pugd.erasures WHERE project = $1
  ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.erasures
WHERE project = $1 AND id <= (SELECT id FROM doomed ORDER BY id DESC LIMIT 1)
  AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_numbers :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid, first FROM pugd.number_block WHERE project = $1
  ORDER BY first LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.number_block
WHERE project = $1 AND first <= (SELECT max(first) FROM doomed)
  AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_keys :exec
-- params: project int4
-- The few that were being made while the project was being deleted.
DELETE FROM pugd.api_keys WHERE project = $1;

-- name: purge_dashboards :exec
-- params: project int4, batch int4
-- Tiles and links go with them.
WITH doomed AS (
  SELECT ctid FROM pugd.dashboards WHERE project = $1
  ORDER BY create_time, id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.dashboards
WHERE project = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_done :exec
-- params: project int4
-- Only when nothing is left, what another keeper has locked included. 1 row: it is done.
UPDATE pugd.projects SET purged_at = now()
WHERE num = $1 AND deleted_at IS NOT NULL AND purged_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM pugd.inbox WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.segment WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.segment_column WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.number_block WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.event_seen WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.aliases WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.profiles WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.people_state WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.people_pack WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.people_gone WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.dashboards WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.tombstones WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.erasures WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.catalog WHERE project = $1)
  AND NOT EXISTS (SELECT 1 FROM pugd.api_keys WHERE project = $1);
