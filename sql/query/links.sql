-- Mailed links: asking for one and redeeming it (auth.md 4.2, 4.3), and the demo's
-- visitor. Redeeming is a transaction (worker/rpc/links.c) that locks in the order
-- invitation, token, account, sessions; resending and revoking an invitation begin
-- with the invitation as well, so nothing waits in a circle.

-- name: link_request :exec
-- params: email text, hash bytea, lifetime_us int8, mail_id text, secret bytea
-- A sign-in link and its mail. action_tokens_sign_in_key keeps one unredeemed link per
-- address, so a new link takes the place of the one before, also when two are asked for
-- at once. The mail goes to the stored spelling of a known address. The token does not
-- name the account (redeeming goes by address), so that a known address costs what an
-- unknown one does, a foreign key included. Invitations have another purpose.
WITH address AS (
  SELECT coalesce((SELECT email FROM pugd.customers WHERE lower(email) = lower($1)), $1) AS email
), token AS (
  INSERT INTO pugd.action_tokens (hash, purpose, email, expires_at)
  SELECT $2, 1, address.email, now() + $3 * interval '1 microsecond' FROM address
  ON CONFLICT (lower(email)) WHERE purpose = 1 AND consumed_at IS NULL DO UPDATE
  SET hash = excluded.hash, email = excluded.email, create_time = excluded.create_time,
      expires_at = excluded.expires_at
  RETURNING hash, email
)
INSERT INTO pugd.mail_outbox (id, kind, org_id, token_hash, recipient, secret)
SELECT $4, 1, NULL, token.hash, token.email, $5 FROM token;

-- name: link_invitation :one
-- lane: tx
-- params: hash bytea
-- columns: id text, open bool
-- The invitation behind a link, locked until the end of the transaction; no row for a
-- sign-in link and for an invitation that was revoked.
SELECT i.id, i.status = 1 AND i.expires_at > now()
FROM pugd.org_invitations i
WHERE i.id = (SELECT t.invitation_id FROM pugd.action_tokens t WHERE t.hash = $1)
FOR UPDATE;

-- name: link_take :one
-- params: hash bytea
-- columns: email text, invitation_id text?, by_org bool
-- The link, consumed. Of several at once the first to lock the row has it; the others
-- wait and then find it consumed. By primary key.
UPDATE pugd.action_tokens SET consumed_at = now()
WHERE hash = $1 AND consumed_at IS NULL AND expires_at > now() AND purpose IN (1, 2)
RETURNING email, invitation_id, by_org;

-- name: link_accept :exec
-- params: invitation_id text, customer_id text
-- Who is a member already keeps their role.
WITH accepted AS (
  UPDATE pugd.org_invitations SET status = 2 WHERE id = $1 RETURNING org_id, role
)
INSERT INTO pugd.org_members (org_id, customer_id, role)
SELECT accepted.org_id, $2, accepted.role FROM accepted
ON CONFLICT (org_id, customer_id) DO NOTHING;

-- name: demo_visitor :one
-- columns: customer_id text, project_id text
-- Whom DemoSignIn signs in, and where to: the oldest live project of their oldest org,
-- if they are no more than a viewer there. By customers_demo_idx.
SELECT c.id, p.id
FROM (SELECT id FROM pugd.customers WHERE demo ORDER BY create_time, id LIMIT 1) c
CROSS JOIN LATERAL (
  SELECT o.id, m.role FROM pugd.org_members m JOIN pugd.orgs o ON o.id = m.org_id
  WHERE m.customer_id = c.id ORDER BY o.create_time, o.id LIMIT 1
) org
CROSS JOIN LATERAL (
  SELECT p.id FROM pugd.projects p
  WHERE p.org_id = org.id AND p.deleted_at IS NULL ORDER BY p.create_time, p.id LIMIT 1
) p
WHERE org.role = 3;
