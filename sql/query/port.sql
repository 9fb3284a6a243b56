-- pugd import and pugd export (worker/cli).

-- name: port_project :one
-- params: id text
-- columns: num int4
SELECT num FROM pugd.projects WHERE id = $1 AND deleted_at IS NULL;

-- name: import_begin :one
-- params: project int4, source text
-- columns: read_bytes int8, read_sha256 bytea
SELECT read_bytes, read_sha256 FROM pugd.imports WHERE project = $1 AND source = $2;

-- name: import_mark :exec
-- params: project int4, source text, read_bytes int8, read_sha256 bytea
-- Everything up to there is stored. What it is called is found by the keeper.
WITH doubt AS (
  INSERT INTO pugd.catalog_state AS s (project, due_at) VALUES ($1, now() + interval '10 s')
  ON CONFLICT (project) DO UPDATE SET due_at = least(s.due_at, excluded.due_at)
)
INSERT INTO pugd.imports (project, source, read_bytes, read_sha256)
SELECT p.num, $2, $3, $4 FROM pugd.projects p WHERE p.num = $1 AND p.deleted_at IS NULL
ON CONFLICT (project, source) DO UPDATE
SET read_bytes = excluded.read_bytes, read_sha256 = excluded.read_sha256, update_time = now();

-- name: import_identify :one
-- params: project int4, new_id text, external_id text, anonymous_id text
-- columns: profile_id text?
-- lane: tx
-- volatile: joins ids
-- An identification of long ago: what an id says since then stays.
SELECT i.profile_id FROM (
  SELECT $1::int AS project
  WHERE NOT EXISTS (SELECT FROM pugd.aliases a WHERE a.project = $1 AND a.alias_id = $4)
) fresh, LATERAL pugd.identify(fresh.project, $2, $3, $4, '{}', '{}') i;
