-- Organisations' own mail providers.

-- name: provider_get :one
-- params: org_id text
-- columns: kind int4, from_address text, reply_to text?, secret bytea, update_time timestamptz
-- By primary key; at most one row.
SELECT kind::int4, from_address, reply_to, secret, update_time
FROM pugd.org_email_providers WHERE org_id = $1;

-- name: provider_set :one
-- params: org_id text, kind int4, from_address text, reply_to text?, secret bytea
-- columns: update_time timestamptz
-- Replaces it as a whole. org_email_providers_org_id_fkey: the org is gone.
INSERT INTO pugd.org_email_providers AS p (org_id, kind, from_address, reply_to, secret)
VALUES ($1, $2::int4, $3, $4, $5)
ON CONFLICT (org_id) DO UPDATE SET kind = excluded.kind, from_address = excluded.from_address,
  reply_to = excluded.reply_to, secret = excluded.secret, update_time = now()
RETURNING p.update_time;

-- name: provider_remove :exec
-- params: org_id text
DELETE FROM pugd.org_email_providers WHERE org_id = $1;

-- name: provider_secrets :many
-- params: after text
-- columns: org_id text, secret bytea
-- A page of all secrets, for the job that seals them anew; by primary key.
SELECT org_id, secret FROM pugd.org_email_providers WHERE org_id > $1
ORDER BY org_id LIMIT 100;

-- name: provider_reseal :exec
-- params: org_id text, old bytea, new bytea
-- The same secret under the current key, unless it was replaced meanwhile.
UPDATE pugd.org_email_providers SET secret = $3 WHERE org_id = $1 AND secret = $2;
