-- People beyond passwords: identities at other providers, mail and who carries it,
-- usage, and the end of projects.

-- The visitor that DemoSignIn signs in as: may change nothing, itself included (D12).
ALTER TABLE pugd.customers ADD COLUMN demo boolean NOT NULL DEFAULT false;
CREATE INDEX customers_demo_idx ON pugd.customers (create_time, id) WHERE demo;

-- Of the sign-in links of an address only the newest works: there is no other.
CREATE UNIQUE INDEX action_tokens_sign_in_key
  ON pugd.action_tokens (lower(email)) WHERE purpose = 1 AND consumed_at IS NULL;

-- Who a person is elsewhere. `google`: Google's subject; `oidc`: issuer, the unit
-- separator (0x1F) and subject, so that two issuers never share a person.
CREATE TABLE pugd.customer_identities (
  provider    text NOT NULL CHECK (provider IN ('google', 'oidc')),
  subject     text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 2048),
  customer_id pugd.xid NOT NULL REFERENCES pugd.customers ON DELETE CASCADE,
  create_time timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customer_identities_pkey PRIMARY KEY (provider, subject)
);
CREATE INDEX customer_identities_customer_idx ON pugd.customer_identities (customer_id);

-- Who carries an org's invitations. kind: 1 SMTP, 2 Resend. The secret is sealed
-- (worker/call/seal.h), bound to the org, so that rows cannot be swapped.
CREATE TABLE pugd.org_email_providers (
  org_id       pugd.xid PRIMARY KEY REFERENCES pugd.orgs ON DELETE CASCADE,
  kind         smallint NOT NULL CHECK (kind IN (1, 2)),
  from_address text NOT NULL CHECK (char_length(from_address) BETWEEN 3 AND 255),
  reply_to     text CHECK (char_length(reply_to) BETWEEN 3 AND 255),
  secret       bytea NOT NULL,
  create_time  timestamptz NOT NULL DEFAULT now(),
  update_time  timestamptz NOT NULL DEFAULT now()
);

-- Mail to be sent, written in the transaction of its cause (D16). The id is the
-- dispatch id: Message-ID and Idempotency-Key are made of it, so a repeat is known.
-- kind: 1 sign-in link, 2 invitation. org_id: whose provider carries it, NULL the
-- operator's. `secret` is the link's token, sealed; gone once the mail is. No foreign
-- key: a row that is being sent is locked, and revoking an invitation must not wait
-- for a mail server. state: 1 waiting, 2 sent, 3 dead, 4 dropped (its link was over).
CREATE TABLE pugd.mail_outbox (
  id          pugd.xid PRIMARY KEY,
  kind        smallint NOT NULL CHECK (kind IN (1, 2)),
  org_id      pugd.xid,
  token_hash  bytea NOT NULL CHECK (octet_length(token_hash) = 32),
  recipient   text NOT NULL CHECK (char_length(recipient) BETWEEN 3 AND 255),
  secret      bytea,
  state       smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 4),
  attempts    int NOT NULL DEFAULT 0,
  next_at     timestamptz NOT NULL DEFAULT now(),
  last_error  text NOT NULL DEFAULT '' CHECK (char_length(last_error) <= 500),
  create_time timestamptz NOT NULL DEFAULT now(),
  end_time    timestamptz,
  CHECK ((state = 1) = (end_time IS NULL))
);
CREATE INDEX mail_outbox_due_idx ON pugd.mail_outbox (next_at) WHERE state = 1;
CREATE INDEX mail_outbox_end_idx ON pugd.mail_outbox (end_time) WHERE state <> 1;

-- Events stored per project and UTC day of receipt that are no longer counted in the
-- inbox (D42): what seals or deletes inbox rows adds them here in its transaction.
CREATE TABLE pugd.usage_days (
  project int    NOT NULL,
  day     date   NOT NULL,
  events  bigint NOT NULL CHECK (events >= 0),
  PRIMARY KEY (project, day)
);

-- A deleted project is hidden at once; what it owned goes in the background.
ALTER TABLE pugd.projects ADD COLUMN purged_at timestamptz;
CREATE INDEX projects_purge_idx ON pugd.projects (deleted_at)
  WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
