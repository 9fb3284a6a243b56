-- Dashboards, tiles and links. Whoever changes a dashboard or its tiles holds its row, and
-- whoever may make them larger holds the project's before that.

-- name: dashboards_lock :one
-- lane: tx
-- params: project int4
-- columns: project int4
-- No row: the project is gone. Ingestion and sign-in do not wait for it.
SELECT num FROM pugd.projects WHERE num = $1 AND deleted_at IS NULL FOR NO KEY UPDATE;

-- name: dashboards_size :one
-- lane: tx
-- params: project int4
-- columns: boards int4, rows int8, bytes int8
-- What List would show: dashboards, these and tiles together, and bytes of all texts.
SELECT count(*)::int4, (count(*) + coalesce(sum(t.tiles), 0))::int8,
  coalesce(sum(octet_length(d.display_name) + octet_length(d.description) + t.bytes), 0)::int8
FROM pugd.dashboards d
CROSS JOIN LATERAL (
  SELECT count(*) AS tiles, coalesce(sum(octet_length(t.display_name) +
    octet_length(t.description) + octet_length(t.body)), 0) AS bytes
  FROM pugd.dashboard_tiles t WHERE t.dashboard = d.id
) t
WHERE d.project = $1;

-- name: dashboard_create :one
-- params: id text, project int4, display_name text, description text, time_range int4, granularity int4
-- columns: create_time timestamptz
-- No row: the project is gone.
INSERT INTO pugd.dashboards (id, project, display_name, description, time_range, granularity)
SELECT $1, p.num, $3, $4, $5, $6 FROM pugd.projects p
WHERE p.num = $2 AND p.deleted_at IS NULL
RETURNING create_time;

-- name: dashboard_read :many
-- params: project int4, id text?
-- columns: id text, display_name text, description text, time_range int4, granularity int4, create_time timestamptz, update_time timestamptz, share bytea?
-- columns: tile_ids text[], tile_names text[], tile_descriptions text[], tile_bodies bytea[], tile_created timestamptz[], tile_updated timestamptz[]
-- unbounded: bounded by the call's memory
-- All of a project, oldest first, or one (id). Tiles oldest first; those of one Upsert by
-- their ids, which are ordered by time. share: only while it is on. By dashboards_project_idx
-- and dashboard_tiles_dashboard_idx. One statement, so that it shows one state.
SELECT d.id::text, d.display_name, d.description, d.time_range::int4, d.granularity::int4,
  d.create_time, d.update_time,
  (SELECT s.sealed FROM pugd.dashboard_shares s WHERE s.dashboard = d.id AND s.enabled),
  coalesce(t.ids, '{}'), coalesce(t.names, '{}'), coalesce(t.descriptions, '{}'),
  coalesce(t.bodies, '{}'), coalesce(t.created, '{}'), coalesce(t.updated, '{}')
FROM pugd.dashboards d
CROSS JOIN LATERAL (
  SELECT array_agg(t.id::text ORDER BY t.create_time, t.id) AS ids,
    array_agg(t.display_name ORDER BY t.create_time, t.id) AS names,
    array_agg(t.description ORDER BY t.create_time, t.id) AS descriptions,
    array_agg(t.body ORDER BY t.create_time, t.id) AS bodies,
    array_agg(t.create_time ORDER BY t.create_time, t.id) AS created,
    array_agg(t.update_time ORDER BY t.create_time, t.id) AS updated
  FROM pugd.dashboard_tiles t WHERE t.dashboard = d.id
) t
WHERE d.project = $1 AND ($2::text IS NULL OR d.id = $2)
ORDER BY d.create_time, d.id;

-- name: dashboard_update :one
-- params: project int4, id text, display_name text, description text, time_range int4, granularity int4, is_public bool?, rotate bool, hash bytea, sealed bytea
-- columns: id text
-- An empty description changes nothing. The link is made when it is first spoken of; later
-- it keeps its token unless told to rotate. No row: no such dashboard.
WITH d AS (
  UPDATE pugd.dashboards
  SET display_name = $3, description = CASE WHEN $4 = '' THEN description ELSE $4 END,
    time_range = $5, granularity = $6,
    update_time = greatest(now(), update_time + interval '1 microsecond')
  WHERE project = $1 AND id = $2
  RETURNING id
), s AS (
  INSERT INTO pugd.dashboard_shares AS s (dashboard, hash, sealed, enabled)
  SELECT d.id, $9, $10, coalesce($7, false) FROM d WHERE $7 IS NOT NULL OR $8
  ON CONFLICT (dashboard) DO UPDATE SET enabled = coalesce($7, s.enabled),
    hash = CASE WHEN $8 THEN excluded.hash ELSE s.hash END,
    sealed = CASE WHEN $8 THEN excluded.sealed ELSE s.sealed END
)
SELECT d.id::text FROM d;

-- name: dashboard_delete :exec
-- params: project int4, id text
-- Tiles and link go with it.
DELETE FROM pugd.dashboards WHERE project = $1 AND id = $2;

-- name: dashboard_lock :one
-- lane: tx
-- params: project int4, id text
-- columns: display_name text, description text, time_range int4, granularity int4
-- Upserts of one dashboard follow one another: what comes next sees all of the former one.
SELECT display_name, description, time_range::int4, granularity::int4
FROM pugd.dashboards WHERE project = $1 AND id = $2
FOR NO KEY UPDATE;

-- name: dashboard_tiles :many
-- lane: tx
-- params: dashboard text
-- columns: id text, display_name text, description text, body bytea
-- unbounded: a dashboard has at most 100 tiles
SELECT id::text, display_name, description, body
FROM pugd.dashboard_tiles WHERE dashboard = $1;

-- name: dashboard_tiles_keep :exec
-- params: dashboard text, ids text[]
-- Deletes all others. First, so that a name that they had is free.
DELETE FROM pugd.dashboard_tiles WHERE dashboard = $1 AND id <> ALL ($2::text[]);

-- name: dashboard_tiles_change :exec
-- params: dashboard text, ids text[], names text[], descriptions text[], bodies bytea[]
-- All at once: names are compared at the end of the statement, so that they may be swapped.
UPDATE pugd.dashboard_tiles t
SET display_name = n.name, description = n.description, body = n.body,
  update_time = greatest(now(), t.update_time + interval '1 microsecond')
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) AS n (id, name, description, body)
WHERE t.dashboard = $1 AND t.id = n.id;

-- name: dashboard_tiles_add :exec
-- params: dashboard text, ids text[], names text[], descriptions text[], bodies bytea[]
-- The time of the lock, not of the transaction: one that waited for another is younger.
INSERT INTO pugd.dashboard_tiles
  (id, dashboard, display_name, description, body, create_time, update_time)
SELECT n.id, $1, n.name, n.description, n.body, statement_timestamp(), statement_timestamp()
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) AS n (id, name, description, body);

-- name: dashboard_touch :exec
-- params: project int4, id text, display_name text, description text, time_range int4, granularity int4
UPDATE pugd.dashboards
SET display_name = $3, description = $4, time_range = $5, granularity = $6,
  update_time = greatest(now(), update_time + interval '1 microsecond')
WHERE project = $1 AND id = $2;

-- name: dashboard_shared :one
-- params: hash bytea
-- columns: id text, project int4, reporting_timezone text
-- Whom a link shows, while it is on; by dashboard_shares_hash_key. Tokens are compared by
-- their hash: how long that takes tells nothing about them.
SELECT d.id::text, d.project, p.reporting_timezone
FROM pugd.dashboard_shares s
JOIN pugd.dashboards d ON d.id = s.dashboard
JOIN pugd.projects p ON p.num = d.project
WHERE s.hash = $1 AND s.enabled AND p.deleted_at IS NULL;

-- name: share_secrets :many
-- params: after text
-- columns: dashboard text, sealed bytea
-- A page of all links, for the job that seals them anew; by primary key.
SELECT dashboard::text, sealed FROM pugd.dashboard_shares WHERE dashboard > $1
ORDER BY dashboard
LIMIT 100;

-- name: share_reseal :exec
-- params: dashboard text, old bytea, sealed bytea
-- The same token under the current key, unless it was rotated meanwhile.
UPDATE pugd.dashboard_shares SET sealed = $3 WHERE dashboard = $1 AND sealed = $2;
