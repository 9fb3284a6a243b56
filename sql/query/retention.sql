-- How long events are kept: pugd retention, and the keeper's job (D20).

-- name: retention_list :many
-- columns: id text, display_name text, org text, days int4?
-- unbounded: one row a project, for the operator's eyes
SELECT p.id, p.display_name, o.display_name, p.retention_days
FROM pugd.projects p JOIN pugd.orgs o ON o.id = p.org_id
WHERE p.deleted_at IS NULL ORDER BY o.display_name, p.display_name, p.id;

-- name: retention_set :one
-- params: id text, days int4?
-- columns: first_day text?
-- No row: no such project. The first day that is kept.
UPDATE pugd.projects SET retention_days = $2 WHERE id = $1 AND deleted_at IS NULL
RETURNING to_char((now() AT TIME ZONE 'UTC')::date - retention_days, 'YYYY-MM-DD');

-- name: retention_next :one
-- params: after int4
-- columns: project int4
-- The next project with a retention, whole table: there are few and it runs rarely.
SELECT num FROM pugd.projects
WHERE retention_days IS NOT NULL AND deleted_at IS NULL AND num > $1
ORDER BY num LIMIT 1;

-- name: retention_inbox :one
-- params: project int4, batch int4
-- columns: rows int4
-- Blobs that are hidden whole; what they held still counts as used (D42), as in purge_inbox.
WITH doomed AS (
  SELECT ctid, id FROM pugd.inbox
  WHERE project = $1 AND tmax < (SELECT pugd.retention_floor($1))
  ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
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

-- name: retention_segments :one
-- params: project int4, batch int4
-- columns: rows int4
-- Sealed days, as in purge_segments; what they held was counted when it was sealed.
WITH doomed AS (
  SELECT ctid, day, id FROM pugd.segment
  WHERE project = $1 AND day < (
    SELECT (now() AT TIME ZONE 'UTC')::date - p.retention_days FROM pugd.projects p WHERE p.num = $1)
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

-- name: retention_seen :one
-- params: project int4, batch int4
-- columns: rows int4
-- Claims of days that accept nothing any more, but none of an event that is stored still,
-- next to younger ones: if the retention ends it shows again, and must not come twice.
WITH kept AS (
  SELECT least((now() AT TIME ZONE 'UTC')::date - p.retention_days,
               (SELECT (to_timestamp(min(i.tmin) / 1000.0) AT TIME ZONE 'UTC')::date
                FROM pugd.inbox i WHERE i.project = $1),
               (SELECT min(s.day) FROM pugd.segment s WHERE s.project = $1)) AS day
  FROM pugd.projects p WHERE p.num = $1 AND p.retention_days IS NOT NULL
), doomed AS (
  SELECT tableoid, ctid FROM pugd.event_seen
  WHERE project = $1 AND day < (SELECT day FROM kept)
  ORDER BY day, event_id LIMIT $2
), gone AS (
  DELETE FROM pugd.event_seen s USING doomed d
  WHERE s.project = $1 AND s.tableoid = d.tableoid AND s.ctid = d.ctid
    AND s.day < (SELECT day FROM kept)
  RETURNING 1
), counted AS (
  UPDATE pugd.projects SET claims_dropped = claims_dropped + (SELECT count(*) FROM gone)
  WHERE num = $1 AND EXISTS (SELECT FROM gone)
)
SELECT count(*)::int4 FROM gone;
