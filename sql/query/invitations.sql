-- Invitations and their links. Token and mail are written beside their cause
-- (worker/rpc/link.h). Whoever locks both locks the invitation before its tokens, as
-- redeeming a link does: no deadlock.
-- Who carries the mail is decided here, for good (by_org): the organisation's own server sees the
-- link, so it gets only those of addresses without an account.
-- outcome: 1 done, 2 the caller is no admin any more, 3 no such invitation, 4 not
-- pending, 5 sent too often, 6 a member already, 7 invited already.

-- name: invitation_create :one
-- params: id text, org_id text, email text, role int4, inviter_id text, lifetime_us int8, token_hash bytea, mail_id text, secret bytea
-- columns: outcome int4, expires_at text
-- org_invitations_pending_key knows who is invited, an expired invitation included.
WITH verdict AS (
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM pugd.org_members
                     WHERE org_id = $2 AND customer_id = $5 AND role = 1) THEN 2
    WHEN EXISTS (SELECT 1 FROM pugd.customers c JOIN pugd.org_members m ON m.customer_id = c.id
                 WHERE lower(c.email) = lower($3) AND m.org_id = $2) THEN 6
    ELSE 1 END AS outcome
), invitation AS (
  INSERT INTO pugd.org_invitations (id, org_id, email, role, inviter_id, expires_at)
  SELECT $1, $2, $3, $4, $5, now() + $6 * interval '1 microsecond' FROM verdict
  WHERE outcome = 1
  ON CONFLICT (org_id, lower(email)) WHERE status = 1 DO NOTHING
  RETURNING id, org_id, email, expires_at
), token AS (
  INSERT INTO pugd.action_tokens (hash, purpose, email, invitation_id, expires_at, by_org)
  SELECT $7, 2, email, id, expires_at,
    EXISTS (SELECT 1 FROM pugd.org_email_providers p WHERE p.org_id = invitation.org_id)
    AND NOT EXISTS (SELECT 1 FROM pugd.customers c WHERE lower(c.email) = lower(invitation.email))
  FROM invitation
  RETURNING by_org
), mail AS (
  INSERT INTO pugd.mail_outbox (id, kind, org_id, token_hash, recipient, secret, by_org)
  SELECT $8, 2, org_id, $7, email, $9, by_org FROM invitation, token
)
SELECT CASE WHEN v.outcome = 1 AND i.id IS NULL THEN 7 ELSE v.outcome END,
  coalesce(to_char(i.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
FROM verdict v LEFT JOIN invitation i ON true;

-- name: invitation_list :many
-- params: org_id text
-- columns: id text, email text, role int4, status int4, expires_at text
-- All of an org, newest first. Accepted ones stay for ever, so the number is bounded
-- for the sake of the answer only.
SELECT id, email, role::int4, status::int4,
       to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM pugd.org_invitations WHERE org_id = $1
ORDER BY create_time DESC, id DESC
LIMIT 10000;

-- name: invitation_lock :one
-- lane: tx
-- params: id text, org_id text
-- columns: email text, role int4, status int4
-- First half of sending again. What counts tokens has to be a statement of its own: one
-- that waits for this lock would count those of the moment at which it began to wait.
SELECT email, role::int4, status::int4 FROM pugd.org_invitations
WHERE id = $1 AND org_id = $2
FOR UPDATE;

-- name: invitation_resend :one
-- lane: tx
-- params: id text, org_id text, caller_id text, most int4, lifetime_us int8, token_hash bytea, mail_id text, secret bytea
-- columns: outcome int4, expires_at text
-- Second half, in the same transaction: the links of the last day are counted, the older
-- ones end, a new one begins, and with it an expired invitation again.
WITH verdict AS (
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM pugd.org_members
                     WHERE org_id = $2 AND customer_id = $3 AND role = 1) THEN 2
    WHEN (SELECT count(*) FROM pugd.action_tokens WHERE invitation_id = $1
          AND create_time > now() - interval '1 day') >= $4 THEN 5
    ELSE 1 END AS outcome
), ended AS (
  UPDATE pugd.action_tokens SET consumed_at = now() FROM verdict
  WHERE invitation_id = $1 AND consumed_at IS NULL AND outcome = 1
), renewed AS (
  UPDATE pugd.org_invitations SET expires_at = now() + $5 * interval '1 microsecond' FROM verdict
  WHERE id = $1 AND org_id = $2 AND outcome = 1
  RETURNING id, org_id, email, expires_at
), token AS (
  INSERT INTO pugd.action_tokens (hash, purpose, email, invitation_id, expires_at, by_org)
  SELECT $6, 2, email, id, expires_at,
    EXISTS (SELECT 1 FROM pugd.org_email_providers p WHERE p.org_id = renewed.org_id)
    AND NOT EXISTS (SELECT 1 FROM pugd.customers c WHERE lower(c.email) = lower(renewed.email))
  FROM renewed
  RETURNING by_org
), mail AS (
  INSERT INTO pugd.mail_outbox (id, kind, org_id, token_hash, recipient, secret, by_org)
  SELECT $7, 2, org_id, $6, email, $8, by_org FROM renewed, token
)
SELECT v.outcome,
  coalesce(to_char(r.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
FROM verdict v LEFT JOIN renewed r ON true;

-- name: invitation_revoke :one
-- params: id text, org_id text
-- columns: outcome int4
-- Its links go with it; mail that still waits is dropped by its sender. No row: no such
-- invitation.
WITH invitation AS (
  SELECT id, status FROM pugd.org_invitations WHERE id = $1 AND org_id = $2 FOR UPDATE
), gone AS (
  DELETE FROM pugd.org_invitations i USING invitation
  WHERE i.id = invitation.id AND invitation.status = 1
)
SELECT CASE WHEN status = 1 THEN 1 ELSE 4 END FROM invitation;
