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

-- name: retention_inbox :many
-- lane: tx
-- params: project int4, most int4, events int8, bytes int8
-- columns: id int8, refused int4[]?, data bytea
-- unbounded: as many rows as wanted, and of events and bytes a little more than that
-- Takes blobs that are hidden whole; what they held still counts as used (D42), as in
-- purge_inbox.
WITH list AS (
  SELECT id, sum(n) OVER w - n AS events, sum(bytes) OVER w - bytes AS bytes
  FROM (SELECT id, n, octet_length(data) AS bytes FROM pugd.inbox
        WHERE project = $1 AND tmax < (SELECT pugd.retention_floor($1))
        ORDER BY id LIMIT $2) i
  WINDOW w AS (ORDER BY id)
), doomed AS (
  SELECT i.ctid, i.id FROM pugd.inbox i JOIN list l ON l.id = i.id
  WHERE i.project = $1 AND l.events < $3 AND l.bytes < $4
  ORDER BY i.id FOR UPDATE OF i SKIP LOCKED
), gone AS (
  DELETE FROM pugd.inbox i
  WHERE i.project = $1 AND i.id <= (SELECT max(id) FROM doomed)
    AND i.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING i.id, i.refused, i.data, i.receive_day, i.stored
), counted AS (
  INSERT INTO pugd.usage_days (project, day, events)
  SELECT $1, receive_day, sum(stored) FROM gone GROUP BY receive_day ORDER BY receive_day
  ON CONFLICT (project, day) DO UPDATE SET events = usage_days.events + excluded.events
)
SELECT id, refused, data FROM gone ORDER BY id;

-- name: retention_segments :many
-- lane: tx
-- params: project int4, most int4, events int8
-- columns: id int8, day date, n int4, place int8, id_raw int4?, id_crc int4?, id_data bytea?, who_raw int4?, who_crc int4?, who_data bytea?
-- unbounded: as many rows as wanted, and of events a little more than that
-- Takes segments of days that are hidden; what they held was counted when it was sealed. Of
-- their columns come ids (part 1) and distinct_ids (part 4).
WITH list AS (
  SELECT day, id, sum(n) OVER (ORDER BY day, id) - n AS events
  FROM (SELECT day, id, n FROM pugd.segment
        WHERE project = $1 AND day < (
          SELECT (now() AT TIME ZONE 'UTC')::date - p.retention_days
          FROM pugd.projects p WHERE p.num = $1)
        ORDER BY day, id LIMIT $2) s
), doomed AS (
  SELECT s.ctid, s.day, s.id FROM pugd.segment s JOIN list l ON l.day = s.day AND l.id = s.id
  WHERE s.project = $1 AND l.events < $3
  ORDER BY s.day, s.id FOR UPDATE OF s SKIP LOCKED
), gone AS (
  DELETE FROM pugd.segment s
  WHERE s.project = $1 AND s.day <= (SELECT max(day) FROM doomed)
    AND s.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING s.id, s.day, s.n, s.place
), columns AS (
  DELETE FROM pugd.segment_column c
  WHERE c.project = $1 AND c.segment = ANY (ARRAY(SELECT id FROM gone))
  RETURNING c.segment, c.part, c.raw, c.crc, CASE WHEN c.part IN (1, 4) THEN c.data END AS data
)
SELECT g.id, g.day, g.n, g.place, i.raw, i.crc, i.data, w.raw, w.crc, w.data
FROM gone g
LEFT JOIN columns i ON i.segment = g.id AND i.part = 1
LEFT JOIN columns w ON w.segment = g.id AND w.part = 4
ORDER BY g.day, g.id;

-- name: retention_claims :exec
-- lane: tx
-- params: project int4, day date, ids uuid[]
-- Claims of events that go in the same transaction. A day at a time, so that it is one
-- partition by its primary key, whatever the plan.
DELETE FROM pugd.event_seen WHERE project = $1 AND day = $2 AND event_id = ANY ($3);

-- name: retention_dropped :exec
-- lane: tx
-- params: project int4, claims int8
-- For pugd verify.
UPDATE pugd.projects SET claims_dropped = claims_dropped + $2 WHERE num = $1;
