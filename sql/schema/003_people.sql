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

-- Who is who (D26, D60): each of the functions below is one change, made and committed
-- by one statement. READ COMMITTED: a statement of a function sees what was committed
-- before it, so everything after identity_lock() sees what was waited for.

-- Keeps a profile readable in one answer, whoever sends traits for how long.
ALTER TABLE pugd.profiles ADD CONSTRAINT profiles_properties_size
  CHECK (octet_length(properties::text) <= 262144);

-- Serialises changes of ids. Always in this order, so that nobody waits in a circle:
-- the project (shared, or alone with `whole`), then ids by their hash, then one profile.
-- Alone is who makes a profile vanish: a merge, an erasure. Whoever shares changes only
-- what the locked ids name. Ends with the transaction.
CREATE FUNCTION pugd.identity_lock(in_project int, whole bool, ids text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF whole THEN
    PERFORM pg_catalog.pg_advisory_xact_lock(1886744423, in_project);
    RETURN;
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock_shared(1886744423, in_project);
  PERFORM pg_catalog.pg_advisory_xact_lock(x.k) FROM (
    SELECT DISTINCT pg_catalog.hashtextextended(u.id, in_project) AS k
    FROM unnest(ids) u (id) WHERE u.id <> '' ORDER BY k) x;
END $$;

-- The live profile that an id names; NULL: nobody's. `external` says that a live
-- external_id goes before everything else.
CREATE FUNCTION pugd.identity_of(in_project int, in_id text, external bool) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT x.id FROM (
    SELECT p.id::text, CASE WHEN external THEN 0 ELSE 3 END AS rank FROM pugd.profiles p
    WHERE p.project = in_project AND p.external_id = in_id AND p.external_id <> ''
      AND p.deleted_at IS NULL
    UNION ALL
    SELECT p.id::text, 1 FROM pugd.profiles p
    WHERE p.project = in_project AND p.id = in_id AND p.deleted_at IS NULL
    UNION ALL
    SELECT p.id::text, 2 FROM pugd.aliases a
    JOIN pugd.profiles p ON p.project = a.project AND p.id = a.profile_id
    WHERE a.project = in_project AND a.alias_id = in_id AND p.deleted_at IS NULL
  ) x ORDER BY x.rank LIMIT 1
$$;

CREATE FUNCTION pugd.identity_join(in_project int, ids text[], to_profile text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO pugd.aliases AS a (project, alias_id, profile_id)
  SELECT DISTINCT in_project, u.id, to_profile FROM unnest(ids) u (id) WHERE u.id <> ''
  ON CONFLICT (project, alias_id) DO UPDATE SET profile_id = EXCLUDED.profile_id
  WHERE a.profile_id <> EXCLUDED.profile_id
$$;

-- Identify. No row: the project is gone. `taken`: in_anonymous is somebody's external_id.
CREATE FUNCTION pugd.identify(in_project int, in_new text, in_external text, in_anonymous text,
                              in_traits jsonb, in_removed text[])
RETURNS TABLE (profile_id text, taken bool) LANGUAGE plpgsql AS $$
DECLARE
  joins bool := in_anonymous NOT IN ('', in_external);
BEGIN
  PERFORM pugd.identity_lock(in_project, false, ARRAY[in_external, in_anonymous]);
  IF NOT EXISTS (SELECT FROM pugd.projects p WHERE p.num = in_project AND p.deleted_at IS NULL) THEN
    RETURN;
  END IF;
  taken := joins AND EXISTS (
    SELECT FROM pugd.profiles p WHERE p.project = in_project AND p.external_id = in_anonymous
      AND p.external_id <> '' AND p.deleted_at IS NULL);
  profile_id := pugd.identity_of(in_project, in_external, true);
  IF taken THEN
    RETURN NEXT;
    RETURN;
  END IF;
  IF profile_id IS NULL THEN
    profile_id := in_new;
    INSERT INTO pugd.profiles (project, id, external_id, properties)
    VALUES (in_project, in_new, in_external, in_traits);
  ELSE
    UPDATE pugd.profiles p SET update_time = clock_timestamp(),
      properties = (p.properties - in_removed) || in_traits
    WHERE p.project = in_project AND p.id = profile_id;
  END IF;
  IF joins THEN
    PERFORM pugd.identity_join(in_project, ARRAY[in_anonymous], profile_id);
  END IF;
  RETURN NEXT;
END $$;

-- Alias. No row: the project is gone. `again`: a profile is to be merged, for which the
-- caller must ask with in_whole; nothing was changed.
CREATE FUNCTION pugd.identity_alias(in_project int, in_new text, in_previous text,
                                    in_external text, in_whole bool)
RETURNS TABLE (profile_id text, again bool) LANGUAGE plpgsql AS $$
DECLARE
  source text;
  merged pugd.profiles;
BEGIN
  PERFORM pugd.identity_lock(in_project, in_whole, ARRAY[in_previous, in_external]);
  IF NOT EXISTS (SELECT FROM pugd.projects p WHERE p.num = in_project AND p.deleted_at IS NULL) THEN
    RETURN;
  END IF;
  profile_id := pugd.identity_of(in_project, in_external, true);
  source := pugd.identity_of(in_project, in_previous, false);
  again := false;
  IF in_previous = in_external OR source = profile_id THEN
    profile_id := coalesce(profile_id, '');
    RETURN NEXT;
    RETURN;
  END IF;
  again := source IS NOT NULL AND NOT in_whole;
  IF again THEN
    RETURN NEXT;
    RETURN;
  END IF;
  IF profile_id IS NULL THEN
    profile_id := in_new;
    INSERT INTO pugd.profiles (project, id, external_id) VALUES (in_project, in_new, in_external);
  END IF;
  DELETE FROM pugd.profiles p WHERE p.project = in_project AND p.id = source RETURNING * INTO merged;
  UPDATE pugd.profiles p SET update_time = clock_timestamp(),
    properties = coalesce(merged.properties, '{}') || p.properties
  WHERE p.project = in_project AND p.id = profile_id;
  UPDATE pugd.aliases a SET profile_id = identity_alias.profile_id
  WHERE a.project = in_project AND a.profile_id = source;
  PERFORM pugd.identity_join(in_project, ARRAY[in_previous, source, merged.external_id], profile_id);
  RETURN NEXT;
END $$;
