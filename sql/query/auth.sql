-- Accounts and sessions. A session is one sign-in on one device; its refresh
-- tokens are a chain of which only hashes are stored (D7, D58).

-- name: auth_sign_up :one
-- params: customer_id text, email text, password_hash text, display_name text, org_id text, org_name text, project_id text, timezone text, key_id text, key text, key_digest bytea, key_hint text, session_id text, refresh_hash bytea, lifetime_us int8
-- columns: customer_id text
-- Everything that a new account owns in one statement, so that it is whole or
-- absent (D6). customers_email_key answers EMAIL_TAKEN. One row.
WITH customer AS (
  INSERT INTO pugd.customers (id, email, password_hash, display_name)
  VALUES ($1, $2, $3, $4) RETURNING id
), org AS (
  INSERT INTO pugd.orgs (id, display_name) VALUES ($5, $6) RETURNING id
), member AS (
  INSERT INTO pugd.org_members (org_id, customer_id, role)
  SELECT org.id, customer.id, 1 FROM org, customer RETURNING org_id
), project AS (
  INSERT INTO pugd.projects (id, org_id, display_name, reporting_timezone)
  SELECT $7, member.org_id, 'default', $8 FROM member RETURNING num
), api_key AS (
  INSERT INTO pugd.api_keys (id, project, kind, digest, key, hint, display_name)
  SELECT $9, project.num, 1, $11, $10, $12, 'default' FROM project RETURNING id
), session AS (
  INSERT INTO pugd.sessions (id, customer_id) SELECT $13, customer.id FROM customer RETURNING id
)
INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at)
SELECT $14, session.id, now() + $15 * interval '1 microsecond' FROM session, api_key
RETURNING $1::text;

-- name: auth_customer_by_email :one
-- params: email text
-- columns: id text, password_hash text?
-- Case-insensitive (D57), by customers_email_key. At most one row.
SELECT id, password_hash FROM pugd.customers WHERE lower(email) = lower($1);

-- name: auth_upgrade_hash :exec
-- params: id text, old_hash text, new_hash text
-- A bcrypt hash becomes yescrypt on sign-in (D5), unless it changed meanwhile.
UPDATE pugd.customers SET password_hash = $3 WHERE id = $1 AND password_hash = $2;

-- name: auth_session_open :exec
-- params: session_id text, customer_id text, refresh_hash bytea, lifetime_us int8
WITH session AS (
  INSERT INTO pugd.sessions (id, customer_id) VALUES ($1, $2) RETURNING id
)
INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at)
SELECT $3, session.id, now() + $4 * interval '1 microsecond' FROM session;

-- name: auth_sign_in :one
-- params: session_id text, customer_id text, password_hash text, refresh_hash bytea, lifetime_us int8
-- columns: session_id text
-- As auth_session_open, but only while the hash that the password was compared with is
-- still the account's. Comparing takes long, and whoever replaces or removes a password
-- ends the sessions that he sees (D84): the row lock makes one come after the other.
WITH customer AS (
  SELECT id FROM pugd.customers WHERE id = $2 AND password_hash = $3 FOR SHARE
), session AS (
  INSERT INTO pugd.sessions (id, customer_id) SELECT $1, customer.id FROM customer RETURNING id
)
INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at)
SELECT $4, session.id, now() + $5 * interval '1 microsecond' FROM session
RETURNING session_id;

-- name: auth_refresh :one
-- params: hash bytea, successor_hash bytea, lifetime_us int8, grace_us int8
-- columns: customer_id text, session_id text, outcome int4
-- Rotation in one statement. Both rows are locked first, and a lock that had to
-- wait reads them anew, so of parallel calls one rotates and the others see
-- it. outcome: 0 refused, 1 rotated, 2 repeated within the grace, 3 reused: the
-- session is revoked, and with it every token of it. At most one row.
WITH cur AS (
  SELECT t.hash, t.consumed_at, t.expires_at, s.id AS session_id, s.customer_id, s.revoked_at
  FROM pugd.refresh_tokens t JOIN pugd.sessions s ON s.id = t.session_id
  WHERE t.hash = $1
  FOR UPDATE OF t, s
), used AS (
  UPDATE pugd.refresh_tokens t SET consumed_at = clock_timestamp() FROM cur
  WHERE t.hash = cur.hash AND cur.consumed_at IS NULL AND cur.revoked_at IS NULL
    AND cur.expires_at > now()
  RETURNING cur.session_id
), successor AS (
  INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at)
  SELECT $2, used.session_id, now() + $3 * interval '1 microsecond' FROM used
  ON CONFLICT (hash) DO NOTHING
  RETURNING session_id
), revoked AS (
  UPDATE pugd.sessions s SET revoked_at = now() FROM cur
  WHERE s.id = cur.session_id AND cur.revoked_at IS NULL
    AND cur.consumed_at < clock_timestamp() - $4 * interval '1 microsecond'
  RETURNING s.id
)
SELECT cur.customer_id, cur.session_id,
  CASE
    WHEN EXISTS (SELECT 1 FROM used) THEN 1
    WHEN EXISTS (SELECT 1 FROM revoked) THEN 3
    WHEN cur.revoked_at IS NULL AND cur.consumed_at IS NOT NULL THEN 2
    ELSE 0
  END
FROM cur;

-- name: auth_refresh_known :one
-- params: hash bytea
-- columns: known bool
-- Which key made a repeated successor, while keys rotate. Always one row.
SELECT EXISTS (SELECT 1 FROM pugd.refresh_tokens WHERE hash = $1);

-- name: auth_sign_out :exec
-- params: hash bytea
-- Any token of the session works, a used one too; unknown ones change nothing.
UPDATE pugd.sessions SET revoked_at = now()
WHERE revoked_at IS NULL
  AND id = (SELECT session_id FROM pugd.refresh_tokens WHERE hash = $1);
