-- People who sign in to the dashboard (auth.md 5.3, D15, D57).

-- name: customer_list :many
-- params: org_id text
-- columns: id text, email text, display_name text, picture_url text, email_verified bool, create_time timestamptz, has_password bool
-- An org's people in the order in which they joined, by the primary key of
-- org_members. Bounded far above what an org has.
SELECT c.id, c.email, c.display_name, c.picture_url, c.email_verified_at IS NOT NULL,
  c.create_time, c.password_hash IS NOT NULL
FROM pugd.org_members m JOIN pugd.customers c ON c.id = m.customer_id
WHERE m.org_id = $1
ORDER BY m.create_time, c.id
LIMIT 10000;

-- name: customer_get :one
-- params: customer_id text, caller_id text
-- columns: id text, email text, display_name text, picture_url text, email_verified bool, create_time timestamptz, has_password bool
-- The caller, or who shares an org with them; no row for a stranger and an unknown id
-- alike. By primary keys and org_members_customer_idx.
SELECT c.id, c.email, c.display_name, c.picture_url, c.email_verified_at IS NOT NULL,
  c.create_time, c.password_hash IS NOT NULL
FROM pugd.customers c
WHERE c.id = $1 AND (c.id = $2 OR EXISTS (
  SELECT 1 FROM pugd.org_members a JOIN pugd.org_members b ON b.org_id = a.org_id
  WHERE a.customer_id = $2 AND b.customer_id = c.id));

-- name: customer_update :one
-- params: customer_id text, display_name text?, picture_url text?
-- columns: id text, email text, display_name text, picture_url text, email_verified bool, create_time timestamptz, has_password bool
-- Partial by presence (D57).
UPDATE pugd.customers
SET display_name = coalesce($2, display_name), picture_url = coalesce($3, picture_url)
WHERE id = $1
RETURNING id, email, display_name, picture_url, email_verified_at IS NOT NULL,
  create_time, password_hash IS NOT NULL;

-- name: customer_lock :one
-- lane: tx
-- params: customer_id text
-- columns: id text
-- Sign-ins that are under way end before this, or wait: see auth_sign_in.
SELECT id FROM pugd.customers WHERE id = $1 FOR UPDATE;

-- name: customer_set_password :exec
-- params: customer_id text, session_id text, password_hash text
-- After customer_lock, so that the sessions of sign-ins that came first are seen. All
-- other sessions end. A session that was revoked sets no password, though its access
-- token is good for minutes more. session_id '' is a token that names no session: it may,
-- and spares none. 0 rows: the session is over.
WITH caller AS (
  SELECT c.id FROM pugd.customers c
  WHERE c.id = $1 AND ($2 = '' OR EXISTS (
    SELECT 1 FROM pugd.sessions s
    WHERE s.id = $2 AND s.customer_id = c.id AND s.revoked_at IS NULL))
), others AS (
  UPDATE pugd.sessions s SET revoked_at = now() FROM caller
  WHERE s.customer_id = caller.id AND s.id <> $2 AND s.revoked_at IS NULL
)
UPDATE pugd.customers c SET password_hash = $3 FROM caller WHERE c.id = caller.id;
