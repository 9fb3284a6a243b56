-- What projects have seen, and their limits (D82; schema in 009_catalog.sql).

-- name: catalog_admit :one
-- lane: ingest
-- volatile: adds names
-- params: project int4, list int4[], name text[], kinds_max int4, keys_max int4
-- columns: excess int4[]?, added int4[]?
-- Before the events that bring the names; waits for others of the project at most.
SELECT a.excess, a.added FROM pugd.catalog_admit($1, $2, $3, $4, $5) a;

-- name: catalog_doubt :exec
-- lane: ingest
-- params: project int4, wait_us int8
-- Names may be there that no event has, or events whose names are not: the keeper looks.
INSERT INTO pugd.catalog_state AS s (project, due_at)
VALUES ($1, now() + $2 * interval '1 microsecond')
ON CONFLICT (project) DO UPDATE SET due_at = least(s.due_at, excluded.due_at);

-- name: catalog_withdraw :exec
-- lane: ingest
-- params: project int4, list int4[], name text[]
-- What one call has added and no event of it needs; in the order of the key.
DELETE FROM pugd.catalog c WHERE c.project = $1 AND c.ctid = ANY (ARRAY(
  SELECT o.ctid FROM unnest($2, $3) u (list, name)
  JOIN pugd.catalog o ON o.project = $1 AND o.list = u.list AND o.name = u.name
  ORDER BY o.list, o.name FOR UPDATE OF o SKIP LOCKED));

-- name: catalog_due :one
-- lane: slow
-- columns: project int4
-- The project that waits longest, by catalog_state_due_idx.
SELECT s.project FROM pugd.catalog_state s
JOIN pugd.projects p ON p.num = s.project AND p.deleted_at IS NULL
WHERE s.due_at <= now()
ORDER BY s.due_at LIMIT 1;

-- name: catalog_later :exec
-- params: project int4, wait_us int8
-- What could not be read is not tried again at once.
UPDATE pugd.catalog_state SET due_at = now() + $2 * interval '1 microsecond' WHERE project = $1;

-- name: catalog_now :one
-- lane: slow
-- columns: now timestamptz
SELECT clock_timestamp();

-- name: catalog_fill :one
-- lane: tx
-- volatile: replaces names
-- params: project int4, list int4[], name text[], found timestamptz, spare_us int8, keys_max int4
-- columns: done bool
SELECT true FROM pugd.catalog_fill($1, $2, $3, $4, $5 * interval '1 microsecond', $6);

-- name: segments_nameless :many
-- lane: slow
-- params: after_project int4, after_day date, after_id int8
-- columns: project int4, day date, id int8
-- Segments whose names nobody has looked at, by segment_nameless_idx.
SELECT project, day, id FROM pugd.segment
WHERE names IS NULL AND (project, day, id) > ($1, $2, $3)
ORDER BY project, day, id LIMIT 64;

-- name: segment_names_put :exec
-- params: project int4, day date, id int8, names bytea
UPDATE pugd.segment SET names = $4
WHERE project = $1 AND day = $2 AND id = $3 AND names IS NULL;

-- name: purge_catalog :exec
-- params: project int4, batch int4
-- As the statements of purge.sql.
WITH doomed AS (
  SELECT ctid FROM pugd.catalog WHERE project = $1
  ORDER BY list, name LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.catalog WHERE project = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_catalog_state :exec
-- params: project int4
DELETE FROM pugd.catalog_state WHERE project = $1;
