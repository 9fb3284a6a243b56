-- What the scan threads read (worker/store/reader.c): streamed row by row on a
-- connection of their own, inside one snapshot.

-- name: wal_position :one
-- lane: ingest
-- columns: position text
-- Everything acknowledged so far lies before it. Asked before a scan on another
-- server than the one that events are written to (D21).
SELECT pg_catalog.pg_current_wal_insert_lsn()::text;

-- name: wal_reached :one
-- lane: slow
-- params: position text
-- columns: reached bool
-- Whether the analytics server has replayed that far; a primary always has.
SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
  THEN coalesce(pg_catalog.pg_last_wal_replay_lsn() >= $1::pg_lsn, false) ELSE true END;

-- name: scan_inbox :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8
-- columns: id int8, n int4, floor_ms int8?, refused int4[]?, data bytea
-- unbounded: streamed; bounded by time and memory of the query
-- Level 0 of a window, by the project's part of the primary key. floor_ms: a retention
-- that hides some of these events.
SELECT id, n,
       CASE WHEN tmin < (SELECT pugd.retention_floor($1)) THEN (SELECT pugd.retention_floor($1)) END,
       refused, data
FROM pugd.inbox
WHERE project = $1 AND tmin < $3
  AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)));

-- name: scan_inbox_newest :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8
-- columns: id int8, n int4, tmax int8, floor_ms int8?, refused int4[]?, data bytea
-- unbounded: streamed; the reader stops when older ones cannot matter
-- As scan_inbox, latest first. The sort moves TOAST pointers, not blobs.
SELECT id, n, tmax,
       CASE WHEN tmin < (SELECT pugd.retention_floor($1)) THEN (SELECT pugd.retention_floor($1)) END,
       refused, data
FROM pugd.inbox
WHERE project = $1 AND tmin < $3
  AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)))
ORDER BY tmax DESC;

-- name: scan_profiles :many
-- lane: slow
-- params: project int4
-- columns: id text, external_id text, create_time timestamptz
-- unbounded: streamed; one row a live profile
SELECT id, external_id, create_time FROM pugd.profiles WHERE project = $1 AND deleted_at IS NULL;

-- name: scan_aliases :many
-- lane: slow
-- params: project int4
-- columns: alias_id text, profile_id text
-- unbounded: streamed; one row an alias
-- Who wins where ids clash is decided by worker/store/people.c (D60), without a join.
SELECT alias_id, profile_id FROM pugd.aliases WHERE project = $1;

-- name: scan_traits :many
-- lane: slow
-- params: project int4, paths text[]
-- columns: person text, path int4, kind text, value text?
-- unbounded: streamed; one row a live profile and path
-- The traits that profile filters name; dots descend.
SELECT p.id, (t.no - 1)::int4, jsonb_typeof(v.j), v.j #>> '{}'
FROM pugd.profiles p
CROSS JOIN unnest($2::text[]) WITH ORDINALITY AS t (path, no)
CROSS JOIN LATERAL (SELECT p.properties #> string_to_array(t.path, '.') AS j) v
WHERE p.project = $1 AND p.deleted_at IS NULL AND v.j IS NOT NULL;

-- name: scan_properties :many
-- lane: slow
-- params: project int4
-- columns: properties json, update_time timestamptz
-- unbounded: streamed; one row a live profile
-- Which traits exist (worker/insights/schema_traits.c).
SELECT properties::json, update_time FROM pugd.profiles
WHERE project = $1 AND deleted_at IS NULL;
