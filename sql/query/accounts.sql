-- Accounts that no password made: by a mailed link or by an identity provider. Steps
-- of a transaction (worker/rpc/account.c).

-- name: account_create :one
-- lane: tx
-- params: customer_id text, email text, display_name text, picture_url text, org_id text?, project_id text, timezone text, key_id text, key text, key_digest bytea, key_hint text
-- columns: id text
-- A customer, and with org_id also org and project `default` and a public key. No row
-- when the address is taken, which a concurrent transaction may just have done: then
-- account_lock finds it.
WITH customer AS (
  INSERT INTO pugd.customers (id, email, display_name, picture_url)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (lower(email)) DO NOTHING
  RETURNING id
), org AS (
  INSERT INTO pugd.orgs (id, display_name)
  SELECT $5, 'default' FROM customer WHERE $5 IS NOT NULL RETURNING id
), member AS (
  INSERT INTO pugd.org_members (org_id, customer_id, role)
  SELECT org.id, customer.id, 1 FROM org, customer RETURNING org_id
), project AS (
  INSERT INTO pugd.projects (id, org_id, display_name, reporting_timezone)
  SELECT $6, member.org_id, 'default', $7 FROM member RETURNING num
), api_key AS (
  INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
  SELECT $8, project.num, 1, $10, $9, $11, 'default' FROM project
)
SELECT id FROM customer;

-- name: account_lock :one
-- lane: tx
-- params: email text
-- columns: id text
-- The account of an address, locked until the end of the transaction: two sign-ins of
-- one person then follow each other. By customers_email_key.
SELECT id FROM pugd.customers WHERE lower(email) = lower($1) FOR UPDATE;

-- name: account_verified :exec
-- lane: tx
-- params: customer_id text
-- The person has shown that the address is theirs. The first time, whatever was set up
-- before goes: anybody could have registered the address and wait (D84). Access tokens go as
-- well, those of sessions that are revoked already included: an invitation that is accepted in
-- this transaction is for none of them.
WITH before AS (
  SELECT id, email_verified_at IS NULL AS first FROM pugd.customers WHERE id = $1 FOR UPDATE
), sessions AS (
  UPDATE pugd.sessions s SET revoked_at = coalesce(s.revoked_at, now()), voided = true
  FROM before WHERE s.customer_id = before.id AND before.first
)
UPDATE pugd.customers c
SET email_verified_at = now(),
    password_hash = CASE WHEN before.first THEN NULL ELSE c.password_hash END
FROM before WHERE c.id = before.id;
