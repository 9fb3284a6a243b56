-- An invitation that the mail server of the inviting organisation carries is no proof that whoever
-- redeems it reads the invited mailbox: the organisation has seen the link. by_org says so; such a
-- link may make an account, but opens none that exists (worker/rpc/links.c).
ALTER TABLE pugd.action_tokens ADD COLUMN by_org boolean NOT NULL DEFAULT false;

-- Of links that are out already nobody knows which server has carried them.
UPDATE pugd.action_tokens t SET by_org = true
FROM pugd.org_invitations i
WHERE i.id = t.invitation_id AND t.consumed_at IS NULL
  AND EXISTS (SELECT 1 FROM pugd.org_email_providers p WHERE p.org_id = i.org_id);
