-- Who is calling: one indexed read per call at most (worker/call/authn.c).
-- Nothing here waits for a row lock, so it may share a pipeline with anything.

-- name: authn_key :one
-- lane: fast
-- params: digest bytea
-- columns: key_id text, project_id text, org_id text, project int4, kind int4
-- What an API key gives access to, by api_keys_digest_key. At most one row; no
-- row for a key whose project was deleted.
SELECT k.id, p.id, p.org_id, k.project, k.kind::int4
FROM pugd.api_keys k JOIN pugd.projects p ON p.num = k.project
WHERE k.digest = $1 AND p.deleted_at IS NULL;

-- name: authn_customer :one
-- lane: fast
-- params: customer_id text, session_id text
-- columns: email text, demo bool
-- A token outlives an erased account, hence the read, and its session, but not one that is
-- voided (D84). By primary keys, one row. session_id '' is a token that names no session.
SELECT email, demo FROM pugd.customers WHERE id = $1
  AND NOT EXISTS (SELECT FROM pugd.sessions s WHERE s.id = $2 AND s.voided);

-- name: authn_customer_project :one
-- lane: fast
-- params: customer_id text, project_id text, session_id text
-- columns: email text, demo bool, project int4, org_id text, role int4
-- The person and what x-project-id means to them, in one round trip. By primary
-- and unique keys, one row per known person; project 0 when the project is
-- unknown or foreign, which nobody outside may tell apart (D52). The session is as
-- in authn_customer.
SELECT c.email, c.demo, coalesce(m.num, 0), coalesce(m.org_id, ''), coalesce(m.role, 0)
FROM pugd.customers c
LEFT JOIN (
  SELECT p.num, p.org_id, om.role::int4 AS role, om.customer_id
  FROM pugd.projects p JOIN pugd.org_members om ON om.org_id = p.org_id
  WHERE p.id = $2 AND p.deleted_at IS NULL
) m ON m.customer_id = c.id
WHERE c.id = $1
  AND NOT EXISTS (SELECT FROM pugd.sessions s WHERE s.id = $3 AND s.voided);

-- name: authz_org_role :one
-- lane: fast
-- params: org_id text, customer_id text
-- columns: role int4
-- Role of a person in the org that a request names; no row for a stranger or an
-- unknown org alike. By primary key, one row.
SELECT role::int4 FROM pugd.org_members WHERE org_id = $1 AND customer_id = $2;

-- name: health_writer :one
-- lane: fast
-- columns: one int4
-- GET /readyz: does the control connection answer.
SELECT 1;

-- name: health_reader :one
-- lane: slow
-- columns: one int4
-- GET /readyz: does the analytics connection answer.
SELECT 1;
