-- A packed copy of who is who, as digests (projects.digest_key), so that a query reads a few
-- blobs and what has changed since instead of every profile and every alias.
--
-- Nothing is missed, because whoever writes profiles or aliases holds identity_lock() until
-- it commits: the keeper takes that lock alone for a moment and draws `upto` (people_fence).
-- Every row whose `changed` is below was committed before that, every one that commits later
-- is above. Then it reads the tables in a snapshot taken after that, and writes the copy. What
-- changed between `upto` and the snapshot is in the copy and among the changes; so whoever
-- reads (worker/store/people_pack.c) believes nothing of the copy that has changed since.
CREATE SEQUENCE pugd.people_change AS bigint CACHE 1;

-- When who is who changed last, not when traits did: so an update of traits is still HOT.
-- 0: before there was this column.
ALTER TABLE pugd.profiles ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE pugd.profiles ALTER changed SET DEFAULT pg_catalog.nextval('pugd.people_change');
CREATE INDEX profiles_changed_idx ON pugd.profiles (project, changed) WHERE changed > 0;
ALTER TABLE pugd.aliases ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE pugd.aliases ALTER changed SET DEFAULT pg_catalog.nextval('pugd.people_change');
-- Whether it was taken from a profile that lived on: of such a one the copy may say otherwise.
ALTER TABLE pugd.aliases ADD COLUMN moved bool NOT NULL DEFAULT false;
CREATE INDEX aliases_changed_idx ON pugd.aliases (project, changed) WHERE changed > 0;

CREATE FUNCTION pugd.people_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.changed := pg_catalog.nextval('pugd.people_change');
  RETURN NEW;
END $$;
CREATE TRIGGER profiles_changed BEFORE UPDATE OF external_id, deleted_at ON pugd.profiles
FOR EACH ROW WHEN (OLD.external_id IS DISTINCT FROM NEW.external_id
                   OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at)
EXECUTE FUNCTION pugd.people_changed();
CREATE FUNCTION pugd.alias_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.changed := pg_catalog.nextval('pugd.people_change');
  NEW.moved := OLD.moved OR EXISTS (
    SELECT FROM pugd.profiles p WHERE p.project = OLD.project AND p.id = OLD.profile_id);
  RETURN NEW;
END $$;
CREATE TRIGGER aliases_changed BEFORE UPDATE OF profile_id ON pugd.aliases
FOR EACH ROW WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id)
EXECUTE FUNCTION pugd.alias_moved();

-- As in 003_people.sql, but an alias that is there already draws no number: whoever sends
-- new traits with the same ids changes nothing here. In a language that keeps its plans.
CREATE OR REPLACE FUNCTION pugd.identity_join(in_project int, ids text[], to_profile text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO pugd.aliases AS a (project, alias_id, profile_id)
  SELECT DISTINCT in_project, u.id, to_profile FROM unnest(ids) u (id)
  WHERE u.id <> '' AND NOT EXISTS (
    SELECT FROM pugd.aliases o
    WHERE o.project = in_project AND o.alias_id = u.id AND o.profile_id = to_profile)
  ON CONFLICT (project, alias_id) DO UPDATE SET profile_id = EXCLUDED.profile_id
  WHERE a.profile_id <> EXCLUDED.profile_id;
END $$;

-- A row a project that has, or soon will have, a copy. `upto`: changes up to there are in
-- it; NULL: there is none yet. profiles, aliases: how many are in it.
CREATE TABLE pugd.people_state (
  project  int PRIMARY KEY,
  upto     bigint,
  profiles bigint NOT NULL DEFAULT 0,
  aliases  bigint NOT NULL DEFAULT 0
);

-- The copy. Live profiles: ids, then their external_ids (0: none); `alias`: aliases, whether
-- or not their profile lives (it may be restored), then the ids of their profiles. n times
-- 8 bytes each, little-endian.
CREATE TABLE pugd.people_pack (
  project int   NOT NULL,
  alias   bool  NOT NULL,
  no      int   NOT NULL,
  n       int   NOT NULL CHECK (n > 0),
  data    bytea NOT NULL,
  CHECK (octet_length(data) = 16 * n),
  PRIMARY KEY (project, alias, no)
);
ALTER TABLE pugd.people_pack ALTER data SET STORAGE EXTERNAL;

-- What is there no more, but perhaps in the copy. `profile`: one that was merged or erased;
-- NULL: a copy from before is worth nothing. `erased`: the copy must not keep their digests
-- for long. Of aliases there is no list, for nobody's id may outlive its erasure as a text;
-- nor need there be: an alias goes with its profile, and one of a profile that is not live
-- means nothing. But one that was another's when the copy was made would be his again.
CREATE TABLE pugd.people_gone (
  project int    NOT NULL,
  changed bigint NOT NULL DEFAULT pg_catalog.nextval('pugd.people_change'),
  profile pugd.xid,
  erased  bool   NOT NULL,
  gone_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, changed)
);
CREATE INDEX people_gone_erased_idx ON pugd.people_gone (project, gone_at) WHERE erased;

-- Where there is no row in people_state there is no copy, nor is one being made (a merge and
-- an erasure hold the project's lock alone): also when a deleted project is purged.
CREATE FUNCTION pugd.profile_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO pugd.people_gone (project, profile, erased)
  SELECT OLD.project, OLD.id, OLD.deleted_at IS NOT NULL
  FROM pugd.people_state s WHERE s.project = OLD.project;
  RETURN NULL;
END $$;
CREATE TRIGGER profiles_gone AFTER DELETE ON pugd.profiles
FOR EACH ROW EXECUTE FUNCTION pugd.profile_gone();

-- Aliases are erased without a lock. That is harmless: what `changed` says was committed under
-- it, so a copy whose number is drawn from now on says whose the alias was last.
CREATE FUNCTION pugd.alias_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO pugd.people_gone (project, profile, erased)
  SELECT OLD.project, NULL, true
  FROM pugd.people_state s
  WHERE s.project = OLD.project AND (
    OLD.moved AND OLD.changed > coalesce(s.upto, 0)
    OR EXISTS (SELECT FROM pugd.profiles p WHERE p.project = OLD.project AND p.id = OLD.profile_id
               AND p.deleted_at IS NULL));
  RETURN NULL;
END $$;
CREATE TRIGGER aliases_gone AFTER DELETE ON pugd.aliases
FOR EACH ROW EXECUTE FUNCTION pugd.alias_gone();

-- Up to where a copy is complete that is made from a snapshot taken after this has committed.
-- NULL: the project is gone. Waits for who is changing the project, as who comes then waits
-- for this: let it commit at once.
CREATE FUNCTION pugd.people_fence(in_project int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pugd.identity_lock(in_project, true, '{}');
  IF NOT EXISTS (SELECT FROM pugd.projects p WHERE p.num = in_project AND p.deleted_at IS NULL) THEN
    RETURN NULL;
  END IF;
  INSERT INTO pugd.people_state (project) VALUES (in_project) ON CONFLICT DO NOTHING;
  RETURN pg_catalog.nextval('pugd.people_change');
END $$;

-- How many changes the copy of a project does not have; of each kind no more than `most` are
-- counted. In order, because a planner that does not know `in_upto` would read the tables.
CREATE FUNCTION pugd.people_behind(in_project int, in_upto bigint, most bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT (SELECT count(*) FROM (
            SELECT FROM pugd.profiles p
            WHERE p.project = in_project AND p.changed > 0 AND p.changed > in_upto
            ORDER BY p.changed LIMIT most) x)
       + (SELECT count(*) FROM (
            SELECT FROM pugd.aliases a
            WHERE a.project = in_project AND a.changed > 0 AND a.changed > in_upto
            ORDER BY a.changed LIMIT most) x)
       + (SELECT count(*) FROM (
            SELECT FROM pugd.people_gone g
            WHERE g.project = in_project AND g.changed > in_upto
            ORDER BY g.changed LIMIT most) x)
$$;

-- The same where there is no copy: how many profiles and aliases there are.
CREATE FUNCTION pugd.people_count(in_project int, most bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT (SELECT count(*) FROM (
            SELECT FROM pugd.profiles p WHERE p.project = in_project ORDER BY p.id LIMIT most) x)
       + (SELECT count(*) FROM (
            SELECT FROM pugd.aliases a WHERE a.project = in_project ORDER BY a.alias_id LIMIT most) x)
$$;
