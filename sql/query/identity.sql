-- People at other identity providers (auth.md 4.4). Steps of one transaction
-- (worker/rpc/identity.c), whose other steps are in accounts.sql.

-- name: identity_find :one
-- lane: tx
-- params: provider text, subject text
-- columns: customer_id text
-- Whose identity it is. By customer_identities_pkey.
SELECT customer_id FROM pugd.customer_identities WHERE provider = $1 AND subject = $2;

-- name: identity_link :exec
-- lane: tx
-- params: provider text, subject text, customer_id text
-- No row when the identity is taken, which a concurrent transaction may just have done:
-- it is waited for.
INSERT INTO pugd.customer_identities (provider, subject, customer_id) VALUES ($1, $2, $3)
ON CONFLICT (provider, subject) DO NOTHING;
