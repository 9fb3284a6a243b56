-- Mail: the outbox and what the keeper does with it (D16).

-- name: mail_due :one
-- columns: links bool, others bool
-- Whether a sender is worth waking, four times a second: a probe of
-- mail_outbox_links_idx and one of mail_outbox_due_idx, empty most of the time. One row.
SELECT
  EXISTS (SELECT 1 FROM pugd.mail_outbox WHERE state = 1 AND next_at <= now() AND kind = 1),
  EXISTS (SELECT 1 FROM pugd.mail_outbox WHERE state = 1 AND next_at <= now() AND kind <> 1);

-- name: mail_patience :exec
-- volatile: settings of this transaction
-- lane: tx
-- params: ms text
-- While a mail server thinks, the claim's transaction is idle; the server's own limits
-- must not cut it. transaction_timeout is of PostgreSQL 17.
SELECT pg_catalog.set_config(name, $1, true) FROM pg_catalog.pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout');

-- name: mail_claim :one
-- lane: tx
-- params: busy_orgs text[], accepted text[]
-- columns: id text, kind int4, org_id text?, token_hash bytea, recipient text, secret bytea?, attempts int4
-- The longest due mail that nobody is sending, what an organisation's server carries after all
-- others: a row is claimed by its lock, which a crash gives back at once. `accepted` are sent and
-- only wait to be recorded. By mail_outbox_claim_idx; at most one row.
SELECT id, kind::int4, org_id, token_hash, recipient, secret, attempts
FROM pugd.mail_outbox
WHERE state = 1 AND next_at <= now()
  AND (org_id IS NULL OR org_id <> ALL ($1)) AND id <> ALL ($2)
ORDER BY by_org, next_at
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: mail_claim_link :one
-- lane: tx
-- params: accepted text[]
-- columns: id text, kind int4, org_id text?, token_hash bytea, recipient text, secret bytea?, attempts int4
-- The same of sign-in links only. By mail_outbox_links_idx, whatever else waits.
SELECT id, kind::int4, org_id, token_hash, recipient, secret, attempts
FROM pugd.mail_outbox
WHERE state = 1 AND next_at <= now() AND kind = 1 AND id <> ALL ($1)
ORDER BY next_at
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: mail_facts :one
-- params: token_hash bytea, org_id text?
-- columns: good bool, lifetime_us int8, org_name text?, inviter text?, provider_kind int4?, from_address text?, reply_to text?, provider_secret bytea?
-- Whether the link still leads somewhere, what its mail says, and who carries it: the
-- organisation's server only what was made for it (by_org, invitations.sql). By
-- primary keys; one row, whatever is gone.
SELECT
  t.hash IS NOT NULL AND t.consumed_at IS NULL AND t.expires_at > clock_timestamp()
    AND (t.purpose = 1 OR (i.status = 1 AND i.expires_at > clock_timestamp()
      AND i.org_id = o.id)) IS TRUE,
  coalesce(round(extract(epoch FROM t.expires_at - t.create_time)) * 1000000, 0)::int8,
  o.display_name, c.display_name, p.kind::int4, p.from_address, p.reply_to, p.secret
FROM (SELECT) one
LEFT JOIN pugd.action_tokens t ON t.hash = $1
LEFT JOIN pugd.org_invitations i ON i.id = t.invitation_id
LEFT JOIN pugd.orgs o ON o.id = i.org_id
LEFT JOIN pugd.customers c ON c.id = i.inviter_id
LEFT JOIN pugd.org_email_providers p ON p.org_id = $2 AND t.by_org;

-- name: mail_ended :exec
-- params: id text, state int4, error text
-- Sent (2) or dropped (4): the secret goes. Dead (3): it stays, to be driven again. A
-- row that another host has ended meanwhile stays as it is.
UPDATE pugd.mail_outbox SET state = $2::int4, end_time = clock_timestamp(), last_error = $3,
  attempts = attempts + CASE WHEN $2::int4 = 4 THEN 0 ELSE 1 END,
  secret = CASE WHEN $2::int4 = 3 THEN secret END
WHERE id = $1 AND state = 1;

-- name: mail_later :exec
-- params: id text, delay_ms int8, error text
UPDATE pugd.mail_outbox SET attempts = attempts + 1, last_error = $3,
  next_at = clock_timestamp() + $2::int8 * interval '1 millisecond'
WHERE id = $1 AND state = 1;

-- name: mail_wipe :exec
-- params: batch int4
-- Links of dead mails after a week: nobody will use them any more.
UPDATE pugd.mail_outbox SET secret = NULL WHERE id IN (
  SELECT id FROM pugd.mail_outbox
  WHERE state = 3 AND end_time < now() - interval '7 days' AND secret IS NOT NULL
  ORDER BY end_time LIMIT $1 FOR UPDATE SKIP LOCKED);

-- name: mail_expire :exec
-- params: batch int4
-- What ended a month ago, by mail_outbox_end_idx.
DELETE FROM pugd.mail_outbox WHERE id IN (
  SELECT id FROM pugd.mail_outbox WHERE state <> 1 AND end_time < now() - interval '30 days'
  ORDER BY end_time LIMIT $1 FOR UPDATE SKIP LOCKED);

-- name: mail_list :many
-- params: dead_only bool
-- columns: id text, kind int4, state int4, attempts int4, age_ms int8, wait_ms int8, recipient text, last_error text
-- For `pugd mail list`, newest first.
SELECT id, kind::int4, state::int4, attempts,
  (extract(epoch FROM now() - create_time) * 1000)::int8,
  CASE WHEN state = 1 THEN greatest(extract(epoch FROM next_at - now()) * 1000, 0)::int8
    ELSE 0 END,
  recipient, last_error
FROM pugd.mail_outbox
WHERE state = 3 OR NOT $1
ORDER BY create_time DESC, id DESC
LIMIT 1000;

-- name: mail_retry :many
-- params: ids text[], all_dead bool
-- columns: id text
-- unbounded: an operator drives again as many as there are
-- Dead mails wait again, as if new. Without a secret there is nothing to send.
UPDATE pugd.mail_outbox SET state = 1, attempts = 0, next_at = now(), end_time = NULL,
  last_error = ''
WHERE state = 3 AND secret IS NOT NULL AND (id = ANY ($1) OR $2)
RETURNING id;
