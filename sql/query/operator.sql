-- Commands of the operator (worker/cli).

-- name: operator_admin_create :one
-- params: customer_id text, email text, password_hash text?, display_name text, org_id text, org_name text, project_id text, key_id text, key text, key_digest bytea, key_hint text
-- columns: id text
-- An account with an org, a project and its public key; no row when the address is taken.
-- With a password the operator vouches for the address: the account would lose it again
-- with the first mailed link otherwise (D84). Without one a link is on its way.
WITH customer AS (
  INSERT INTO pugd.customers (id, email, password_hash, display_name, email_verified_at)
  VALUES ($1, $2, $3, $4, CASE WHEN $3 IS NOT NULL THEN now() END)
  ON CONFLICT (lower(email)) DO NOTHING
  RETURNING id
), org AS (
  INSERT INTO pugd.orgs (id, display_name) SELECT $5, $6 FROM customer RETURNING id
), member AS (
  INSERT INTO pugd.org_members (org_id, customer_id, role)
  SELECT org.id, customer.id, 1 FROM org, customer RETURNING org_id
), project AS (
  INSERT INTO pugd.projects (id, org_id, display_name, reporting_timezone)
  SELECT $7, member.org_id, 'default', '' FROM member RETURNING num
), api_key AS (
  INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
  SELECT $8, project.num, 1, $10, $9, $11, 'default' FROM project
)
SELECT id FROM customer;

-- name: operator_sessions_revoke :one
-- params: email text
-- columns: revoked int4
-- Ends every session of a person and tells how many that were; no row: no such account.
WITH person AS (
  SELECT id FROM pugd.customers WHERE lower(email) = lower($1) FOR UPDATE
), gone AS (
  UPDATE pugd.sessions s SET revoked_at = now() FROM person
  WHERE s.customer_id = person.id AND s.revoked_at IS NULL
  RETURNING s.id
)
SELECT (SELECT count(*) FROM gone)::int4 FROM person;
