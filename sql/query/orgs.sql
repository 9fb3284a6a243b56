-- Organisations; who belongs to them is in members.sql.

-- name: org_list :many
-- params: customer_id text
-- columns: id text, display_name text, role int4
-- The caller's orgs, oldest first; by org_members_customer_idx. Bounded far above
-- what a person can belong to.
SELECT o.id, o.display_name, m.role::int4
FROM pugd.org_members m JOIN pugd.orgs o ON o.id = m.org_id
WHERE m.customer_id = $1
ORDER BY o.create_time, o.id
LIMIT 10000;

-- name: org_get :one
-- params: org_id text, customer_id text
-- columns: id text, display_name text, role int4
-- By primary keys; no row for an outsider.
SELECT o.id, o.display_name, m.role::int4
FROM pugd.orgs o JOIN pugd.org_members m ON m.org_id = o.id AND m.customer_id = $2
WHERE o.id = $1;

-- name: org_update :one
-- params: org_id text, display_name text
-- columns: id text, display_name text
UPDATE pugd.orgs SET display_name = $2 WHERE id = $1 RETURNING id, display_name;

-- name: org_create :one
-- params: org_id text, display_name text, customer_id text, project_id text, key_id text, key text, key_digest bytea, key_hint text
-- columns: id text
-- Org, its first admin, project `default` in UTC and a public key, or nothing.
WITH org AS (
  INSERT INTO pugd.orgs (id, display_name) VALUES ($1, $2) RETURNING id
), member AS (
  INSERT INTO pugd.org_members (org_id, customer_id, role)
  SELECT org.id, $3, 1 FROM org RETURNING org_id
), project AS (
  INSERT INTO pugd.projects (id, org_id, display_name, reporting_timezone)
  SELECT $4, member.org_id, 'default', '' FROM member RETURNING num
)
INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
SELECT $5, project.num, 1, $7, $6, $8, 'default' FROM project
RETURNING $1::text;
