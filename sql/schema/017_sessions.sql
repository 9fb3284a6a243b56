-- A session that was made before anybody had shown that the account's address is theirs ends for
-- good when its owner does (account_verified): its access tokens, too, which else hold for some
-- minutes more (authn_customer). What ends by signing out is revoked only.
ALTER TABLE pugd.sessions ADD COLUMN voided bool NOT NULL DEFAULT false;
