-- Control data: who may do what. Small tables, plain constraints. Ids are xids
-- (D9), compared byte-wise. Limits in characters repeat what the protos check, so
-- that no other writer can break what clients rely on.

CREATE DOMAIN pugd.xid AS text COLLATE "C" CHECK (VALUE ~ '^[0-9a-v]{20}$');

CREATE TABLE pugd.customers (
  id                pugd.xid PRIMARY KEY,
  email             text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 255),
  email_verified_at timestamptz,
  -- crypt(3) text (D5); NULL: signs in by link or identity provider only
  password_hash     text CHECK (password_hash <> ''),
  display_name      text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 150),
  picture_url       text NOT NULL DEFAULT '' CHECK (char_length(picture_url) <= 255),
  create_time       timestamptz NOT NULL DEFAULT now()
);
-- One account per address in any spelling (D57); the spelling itself is kept.
CREATE UNIQUE INDEX customers_email_key ON pugd.customers (lower(email));

CREATE TABLE pugd.orgs (
  id           pugd.xid PRIMARY KEY,
  display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 150),
  create_time  timestamptz NOT NULL DEFAULT now()
);

-- role: 1 admin, 2 member, 3 viewer
CREATE TABLE pugd.org_members (
  org_id      pugd.xid NOT NULL REFERENCES pugd.orgs ON DELETE CASCADE,
  customer_id pugd.xid NOT NULL REFERENCES pugd.customers ON DELETE CASCADE,
  role        smallint NOT NULL CHECK (role BETWEEN 1 AND 3),
  create_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, customer_id)
);
CREATE INDEX org_members_customer_idx ON pugd.org_members (customer_id);

-- status: 1 pending, 2 accepted; expiry is looked at on acceptance only
CREATE TABLE pugd.org_invitations (
  id          pugd.xid PRIMARY KEY,
  org_id      pugd.xid NOT NULL REFERENCES pugd.orgs ON DELETE CASCADE,
  email       text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 255),
  role        smallint NOT NULL CHECK (role BETWEEN 1 AND 3),
  status      smallint NOT NULL DEFAULT 1 CHECK (status IN (1, 2)),
  inviter_id  pugd.xid REFERENCES pugd.customers ON DELETE SET NULL,
  expires_at  timestamptz NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX org_invitations_pending_key
  ON pugd.org_invitations (org_id, lower(email)) WHERE status = 1;
CREATE INDEX org_invitations_inviter_idx ON pugd.org_invitations (inviter_id);

-- num is the first column of every event-side primary key. A deleted project
-- keeps its row, and so its num, for ever: event rows of it must never become
-- another project's.
CREATE TABLE pugd.projects (
  num                int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id                 pugd.xid NOT NULL CONSTRAINT projects_id_key UNIQUE,
  org_id             pugd.xid NOT NULL REFERENCES pugd.orgs,
  display_name       text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 150),
  reporting_timezone text NOT NULL DEFAULT '' CHECK (char_length(reporting_timezone) <= 64),
  retention_days     int CHECK (retention_days > 0),
  create_time        timestamptz NOT NULL DEFAULT now(),
  deleted_at         timestamptz
);
CREATE UNIQUE INDEX projects_org_name_key
  ON pugd.projects (org_id, display_name) WHERE deleted_at IS NULL;
CREATE INDEX projects_org_idx ON pugd.projects (org_id, create_time, id);

-- kind: 1 public (text kept, shown again), 2 private (digest only, D4)
CREATE TABLE pugd.api_keys (
  id           pugd.xid PRIMARY KEY,
  project      int NOT NULL REFERENCES pugd.projects ON DELETE CASCADE,
  kind         smallint NOT NULL CHECK (kind IN (1, 2)),
  digest       bytea NOT NULL CONSTRAINT api_keys_digest_key UNIQUE
               CHECK (octet_length(digest) = 32),
  key          text,
  hint         text NOT NULL CHECK (char_length(hint) <= 24),
  display_name text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 150),
  create_time  timestamptz NOT NULL DEFAULT now(),
  CHECK ((kind = 1) = (key IS NOT NULL))
);
CREATE INDEX api_keys_project_idx ON pugd.api_keys (project, create_time, id);

-- One sign-in on one device. Revoking it ends all its refresh tokens at once.
CREATE TABLE pugd.sessions (
  id          pugd.xid PRIMARY KEY,
  customer_id pugd.xid NOT NULL REFERENCES pugd.customers ON DELETE CASCADE,
  create_time timestamptz NOT NULL DEFAULT now(),
  revoked_at  timestamptz
);
CREATE INDEX sessions_customer_idx ON pugd.sessions (customer_id);

-- SHA-256 of a token; its successor can be recomputed from the token (D7), so no
-- text is ever stored.
CREATE TABLE pugd.refresh_tokens (
  hash        bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  session_id  pugd.xid NOT NULL REFERENCES pugd.sessions ON DELETE CASCADE,
  issued_at   timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  consumed_at timestamptz
);
CREATE INDEX refresh_tokens_session_idx ON pugd.refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_idx ON pugd.refresh_tokens (expires_at);

-- What a mailed link redeems. purpose: 1 sign-in, 2 invitation
CREATE TABLE pugd.action_tokens (
  hash          bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  purpose       smallint NOT NULL CHECK (purpose IN (1, 2)),
  customer_id   pugd.xid REFERENCES pugd.customers ON DELETE CASCADE,
  email         text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 255),
  invitation_id pugd.xid REFERENCES pugd.org_invitations ON DELETE CASCADE,
  create_time   timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz NOT NULL,
  consumed_at   timestamptz,
  CHECK ((purpose = 2) = (invitation_id IS NOT NULL))
);
CREATE INDEX action_tokens_email_idx ON pugd.action_tokens (lower(email)) WHERE consumed_at IS NULL;
CREATE INDEX action_tokens_customer_idx ON pugd.action_tokens (customer_id);
CREATE INDEX action_tokens_invitation_idx ON pugd.action_tokens (invitation_id);
CREATE INDEX action_tokens_expires_idx ON pugd.action_tokens (expires_at);

-- Moves with every revocation of a key or deletion of a project. Every keeper
-- polls it; a change empties the shared-memory key caches of its host (D4, D85).
CREATE TABLE pugd.key_epoch (
  id    int PRIMARY KEY CHECK (id = 1),
  epoch bigint NOT NULL
);
INSERT INTO pugd.key_epoch VALUES (1, 1);
