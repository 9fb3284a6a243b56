-- An invitation that the mail server of the inviting organisation carries is no proof that whoever
-- redeems it reads the invited mailbox: the organisation has seen the link. by_org says so; such a
-- link may make an account, but opens none that exists (worker/rpc/links.c).
ALTER TABLE pugd.action_tokens ADD COLUMN by_org boolean NOT NULL DEFAULT false;

-- Of links that are out already nobody knows which server has carried them.
UPDATE pugd.action_tokens t SET by_org = true
FROM pugd.org_invitations i
WHERE i.id = t.invitation_id AND t.consumed_at IS NULL
  AND EXISTS (SELECT 1 FROM pugd.org_email_providers p WHERE p.org_id = i.org_id);

-- The same of its mail, so that those of the operator's server go first: an organisation's server
-- may let each attempt wait for its whole time, and organisations are free.
ALTER TABLE pugd.mail_outbox ADD COLUMN by_org boolean NOT NULL DEFAULT false;
UPDATE pugd.mail_outbox m SET by_org = true
FROM pugd.action_tokens t WHERE t.hash = m.token_hash AND t.by_org AND m.state = 1;
CREATE INDEX mail_outbox_claim_idx ON pugd.mail_outbox (by_org, next_at) WHERE state = 1;
-- Sign-in links are claimed beside whatever waits of the others.
CREATE INDEX mail_outbox_links_idx ON pugd.mail_outbox (next_at) WHERE state = 1 AND kind = 1;
