-- Projects and their API keys. `project` is the internal number.

-- name: project_list :many
-- params: org_id text
-- columns: id text, org_id text, display_name text, reporting_timezone text
-- All live projects of an org, oldest first; by projects_org_idx.
SELECT id, org_id, display_name, reporting_timezone
FROM pugd.projects WHERE org_id = $1 AND deleted_at IS NULL
ORDER BY create_time, id
LIMIT 10000;

-- name: project_get :one
-- params: project int4
-- columns: id text, org_id text, display_name text, reporting_timezone text
SELECT id, org_id, display_name, reporting_timezone
FROM pugd.projects WHERE num = $1 AND deleted_at IS NULL;

-- name: project_zone :one
-- params: project int4
-- columns: reporting_timezone text
-- For insights; not cached with the API key, so that a change counts at once everywhere.
SELECT reporting_timezone FROM pugd.projects WHERE num = $1 AND deleted_at IS NULL;

-- name: project_create :one
-- params: project_id text, org_id text, display_name text, reporting_timezone text, customer_id text, key_id text, key text, key_digest bytea, key_hint text
-- columns: id text
-- The admin check is repeated here, so that a role lost since authz counts. No
-- row: no longer an admin. projects_org_name_key answers PROJECT_NAME_TAKEN.
WITH project AS (
  INSERT INTO pugd.projects (id, org_id, display_name, reporting_timezone)
  SELECT $1, m.org_id, $3, $4 FROM pugd.org_members m
  WHERE m.org_id = $2 AND m.customer_id = $5 AND m.role = 1
  RETURNING num
)
INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
SELECT $6, project.num, 1, $8, $7, $9, 'default' FROM project
RETURNING $1::text;

-- name: project_update :one
-- params: project int4, display_name text?, reporting_timezone text?
-- columns: id text, org_id text, display_name text, reporting_timezone text
-- Partial by presence; projects_org_name_key answers PROJECT_NAME_TAKEN (D12).
UPDATE pugd.projects
SET display_name = coalesce($2, display_name),
    reporting_timezone = coalesce($3, reporting_timezone)
WHERE num = $1 AND deleted_at IS NULL
RETURNING id, org_id, display_name, reporting_timezone;

-- name: project_delete :one
-- params: project int4, customer_id text
-- columns: outcome int4
-- Hides the project, frees its name, ends its keys and moves the epoch, so that other
-- hosts see it within their next poll (D4, D85, D91); what it owned goes later
-- (purge.sql). Keys go before the epoch is locked, as in api_key_revoke: no deadlock. A
-- key that is made at this moment is useless without a live project and goes later, too.
-- outcome: 1 done, 2 the caller is no admin any more. No row: somebody was faster.
WITH project AS (
  SELECT num, org_id FROM pugd.projects WHERE num = $1 AND deleted_at IS NULL FOR NO KEY UPDATE
), caller AS (
  SELECT m.role FROM pugd.org_members m JOIN project p ON p.org_id = m.org_id
  WHERE m.customer_id = $2 FOR SHARE OF m
), verdict AS (
  SELECT num, CASE WHEN EXISTS (SELECT 1 FROM caller WHERE role = 1) THEN 1 ELSE 2 END AS outcome
  FROM project
), gone AS (
  UPDATE pugd.projects p SET deleted_at = now() FROM verdict v
  WHERE p.num = v.num AND v.outcome = 1 RETURNING p.num
), keys AS (
  DELETE FROM pugd.api_keys k USING gone WHERE k.project = gone.num RETURNING k.id
), epoch AS (
  UPDATE pugd.key_epoch SET epoch = epoch + 1
  WHERE EXISTS (SELECT 1 FROM gone) AND (SELECT count(*) FROM keys) >= 0
)
SELECT outcome FROM verdict;

-- name: api_key_create :one
-- params: key_id text, project int4, kind int4, digest bytea, key text?, hint text, display_name text?
-- columns: create_time timestamptz
-- `key` only for public keys: private ones are kept as their digest alone (D4).
INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
SELECT $1, p.num, $3, $4, $5, $6, coalesce($7, '') FROM pugd.projects p
WHERE p.num = $2 AND p.deleted_at IS NULL
RETURNING create_time;

-- name: api_key_list :many
-- params: project int4
-- columns: id text, kind int4, key text?, hint text, display_name text, create_time timestamptz
-- By api_keys_project_idx, oldest first.
SELECT id, kind::int4, key, hint, display_name, create_time
FROM pugd.api_keys WHERE project = $1
ORDER BY create_time, id
LIMIT 10000;

-- name: api_key_revoke :exec
-- params: key_id text, project int4
-- Deletes the key and moves the epoch in one transaction, so that other hosts
-- see the change within their next poll (D4, D85). 0 rows: no such key here.
WITH gone AS (
  DELETE FROM pugd.api_keys WHERE id = $1 AND project = $2 RETURNING id
)
UPDATE pugd.key_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT 1 FROM gone);
