-- Erasure (D27): the ledger of requests, what hides a person until nothing of them is
-- left, and the order of events that both go by.

-- Whether an event came before a deletion or after it must be one answer for ever, also
-- for a commit that was under way. Clocks step and sessions used to draw ids in blocks of
-- 32, so both are useless; this sequence is drawn one by one, and by who stores (an inbox
-- row) and by who deletes (`high`): what is smaller came before.
CREATE SEQUENCE pugd.inbox_order AS bigint CACHE 1;

-- The transaction gets its number before it draws: so everything below a `high` belongs to
-- transactions with numbers below the deletion's, and once these have ended (erasure_ready)
-- nothing can turn up any more.
CREATE FUNCTION pugd.inbox_next() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_current_xact_id();
  RETURN nextval('pugd.inbox_order');
END $$;

LOCK TABLE pugd.inbox IN ACCESS EXCLUSIVE MODE;
SELECT setval('pugd.inbox_order', (SELECT last_value + 1 FROM pugd.inbox_id));
ALTER TABLE pugd.inbox ALTER id SET DEFAULT pugd.inbox_next();
DROP SEQUENCE pugd.inbox_id;

-- Requests. state: that of ComplianceRequestStatus (1 pending, 2 processing, 3 completed,
-- 4 failed). profile_id is that of the profile, or the distinct_id of somebody without one;
-- once completed the row names nobody. `level` and `cursor`: the storage levels before it
-- are done, and of it everything up to the cursor. `events`: removed so far.
CREATE TABLE pugd.erasures (
  project      int  NOT NULL,
  id           pugd.xid NOT NULL,
  profile_id   text,
  external_id  text,
  state        smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 4),
  high         bigint NOT NULL,
  fence        xid8 NOT NULL,
  due_at       timestamptz NOT NULL,
  level        smallint NOT NULL DEFAULT 0,
  cursor       bigint NOT NULL DEFAULT 0,
  events       bigint NOT NULL DEFAULT 0,
  requested_by pugd.xid, -- a customer; NULL: an API key
  requested_at timestamptz NOT NULL DEFAULT now(),
  update_time  timestamptz NOT NULL DEFAULT now(),
  completed_at timestamptz,
  error        text CHECK (octet_length(error) <= 1024),
  PRIMARY KEY (project, id),
  CHECK ((state = 3) = (completed_at IS NOT NULL)),
  CHECK (state <> 3 OR (profile_id IS NULL AND external_id IS NULL)),
  CHECK ((state = 4) = (error IS NOT NULL))
);
CREATE INDEX erasures_open_idx ON pugd.erasures (project, state) WHERE state <> 3;

-- Who is hidden: events of that id whose place in inbox_order lies below `high`. Kept until
-- none of them is stored.
CREATE TABLE pugd.tombstones (
  project     int  NOT NULL,
  erasure     pugd.xid NOT NULL,
  distinct_id text NOT NULL CHECK (octet_length(distinct_id) BETWEEN 1 AND 512),
  high        bigint NOT NULL,
  PRIMARY KEY (project, erasure, distinct_id)
);
CREATE INDEX tombstones_id_idx ON pugd.tombstones (project, distinct_id);

-- Whether every transaction that may hold something below the deletion's `high` has ended.
-- A number that this cluster has not reached yet comes from another one (a dump): nothing
-- of those days is under way.
CREATE FUNCTION pugd.erasure_ready(fence xid8) RETURNS bool LANGUAGE sql STABLE AS $$
  SELECT fence < pg_catalog.pg_snapshot_xmin(s) OR fence >= pg_catalog.pg_snapshot_xmax(s)
  FROM pg_catalog.pg_current_snapshot() s
$$;

-- The ids that resolve to a live profile and to no better one (D60).
CREATE FUNCTION pugd.identity_ids(in_project int, in_profile text) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
  SELECT p.id::text FROM pugd.profiles p
  WHERE p.project = in_project AND p.id = in_profile AND p.deleted_at IS NULL
  UNION
  SELECT a.alias_id FROM pugd.aliases a
  WHERE a.project = in_project AND a.profile_id = in_profile AND NOT EXISTS (
    SELECT FROM pugd.profiles o
    WHERE o.project = in_project AND o.id = a.alias_id AND o.deleted_at IS NULL)
  UNION
  SELECT p.external_id FROM pugd.profiles p
  WHERE p.project = in_project AND p.id = in_profile AND p.deleted_at IS NULL
    AND p.external_id <> '' AND NOT EXISTS (
      SELECT FROM pugd.profiles o
      WHERE o.project = in_project AND o.id = p.external_id AND o.deleted_at IS NULL)
    AND NOT EXISTS (
      SELECT FROM pugd.aliases a
      JOIN pugd.profiles o ON o.project = a.project AND o.id = a.profile_id
      WHERE a.project = in_project AND a.alias_id = p.external_id AND o.deleted_at IS NULL)
$$;

-- Hides a person and writes the request. The caller holds identity_lock() alone and has
-- written nothing yet: the number of its transaction, which is the fence, must be drawn
-- after `high`. in_profile '': somebody without a profile, known by in_id only.
CREATE FUNCTION pugd.erasure_make(in_project int, in_new text, in_profile text, in_id text,
                                  in_data_subject bool, in_delay_us bigint, in_by text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  place bigint := nextval('pugd.inbox_order');
  ids   text[] := ARRAY[in_id];
BEGIN
  IF in_profile <> '' THEN
    ids := ARRAY(SELECT i FROM pugd.identity_ids(in_project, in_profile) i);
  END IF;
  INSERT INTO pugd.erasures (project, id, profile_id, external_id, high, fence, due_at, requested_by)
  SELECT in_project, in_new,
    CASE WHEN in_profile <> '' THEN in_profile WHEN NOT in_data_subject THEN in_id END,
    CASE WHEN in_profile <> '' THEN
      (SELECT nullif(p.external_id, '') FROM pugd.profiles p
       WHERE p.project = in_project AND p.id = in_profile)
    WHEN in_data_subject THEN in_id END,
    place, pg_catalog.pg_current_xact_id(),
    now() + in_delay_us * interval '1 microsecond', nullif(in_by, '');
  INSERT INTO pugd.tombstones (project, erasure, distinct_id, high)
  SELECT in_project, in_new, u.id, place FROM unnest(ids) u (id);
  UPDATE pugd.profiles p SET deleted_at = now()
  WHERE p.project = in_project AND p.id = in_profile AND p.deleted_at IS NULL;
  -- Whoever may not wait takes with him what of the same person waits already.
  UPDATE pugd.erasures e SET due_at = now()
  WHERE in_delay_us = 0 AND e.project = in_project AND e.state = 1 AND e.due_at > now()
    AND e.id IN (SELECT t.erasure FROM pugd.tombstones t
                 WHERE t.project = in_project AND t.distinct_id = ANY (ids));
END $$;

-- Delete and DeleteDataSubject (events-profiles.md 5.6). No row: the project is gone.
-- A live person is hidden, and that is a new request. Else an open one for that id is the
-- answer, driven again if it had failed; but with in_events, which says that the caller
-- found events of that id, only one that covers what had its place by in_seen. Else, with
-- in_events or for a data subject, there is a new one for the bare id; else request_id is
-- NULL. `seen` is for the next call; `again`: the request was there before.
CREATE FUNCTION pugd.erase(in_project int, in_new text, in_id text, in_data_subject bool,
                           in_events bool, in_seen bigint, in_delay_us bigint, in_by text)
RETURNS TABLE (request_id text, state smallint, seen bigint, again bool) LANGUAGE plpgsql AS $$
DECLARE
  person text;
BEGIN
  PERFORM pugd.identity_lock(in_project, true, '{}');
  IF NOT EXISTS (SELECT FROM pugd.projects p WHERE p.num = in_project AND p.deleted_at IS NULL) THEN
    RETURN;
  END IF;
  SELECT o.last_value INTO seen FROM pugd.inbox_order o;
  IF in_data_subject THEN
    SELECT x.id INTO person FROM (
      SELECT p.id::text, 1 AS rank FROM pugd.profiles p
      WHERE p.project = in_project AND p.external_id = in_id AND p.external_id <> ''
        AND p.deleted_at IS NULL
      UNION ALL
      SELECT p.id::text, 2 FROM pugd.aliases a
      JOIN pugd.profiles p ON p.project = a.project AND p.id = a.profile_id
      WHERE a.project = in_project AND a.alias_id = in_id AND p.deleted_at IS NULL
    ) x ORDER BY x.rank LIMIT 1;
  ELSE
    person := pugd.identity_of(in_project, in_id, false);
  END IF;
  again := false;
  state := 1;
  request_id := in_new;
  IF person IS NOT NULL THEN
    PERFORM pugd.erasure_make(in_project, in_new, person, in_id, in_data_subject, in_delay_us, in_by);
    RETURN NEXT;
    RETURN;
  END IF;
  UPDATE pugd.erasures e SET update_time = now(), error = NULL,
    state = CASE e.state WHEN 4 THEN 1 ELSE e.state END,
    level = CASE e.state WHEN 4 THEN 0 ELSE e.level END,
    cursor = CASE e.state WHEN 4 THEN 0 ELSE e.cursor END,
    due_at = CASE WHEN in_delay_us = 0 THEN least(e.due_at, now()) ELSE e.due_at END
  WHERE e.project = in_project AND e.id = (
    SELECT o.id FROM pugd.erasures o
    WHERE o.project = in_project AND o.state <> 3 AND (NOT in_events OR o.high >= in_seen)
      AND (o.profile_id = in_id OR o.external_id = in_id OR EXISTS (
        SELECT FROM pugd.tombstones t
        WHERE t.project = in_project AND t.erasure = o.id AND t.distinct_id = in_id))
    ORDER BY o.high DESC LIMIT 1)
  RETURNING e.id, e.state INTO request_id, state;
  again := FOUND;
  IF NOT again AND (in_events OR in_data_subject) THEN
    request_id := in_new;
    state := 1;
    PERFORM pugd.erasure_make(in_project, in_new, '', in_id, in_data_subject, in_delay_us, in_by);
  END IF;
  RETURN NEXT;
END $$;

-- The end: nothing of them is stored but the profile, whose aliases went before in batches
-- (those made meanwhile go here). From here on the ledger names nobody. False: it was no
-- longer to be done.
CREATE FUNCTION pugd.erasure_finish(in_project int, in_id text) RETURNS bool
LANGUAGE plpgsql AS $$
DECLARE
  who text;
BEGIN
  PERFORM pugd.identity_lock(in_project, true, '{}');
  SELECT e.profile_id INTO who FROM pugd.erasures e
  WHERE e.project = in_project AND e.id = in_id AND e.state = 2 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM pugd.profiles p
  WHERE p.project = in_project AND p.id = who AND p.deleted_at IS NOT NULL;
  DELETE FROM pugd.aliases a WHERE a.project = in_project AND a.profile_id = who
    AND NOT EXISTS (SELECT FROM pugd.profiles p WHERE p.project = in_project AND p.id = who);
  DELETE FROM pugd.tombstones t WHERE t.project = in_project AND t.erasure = in_id;
  UPDATE pugd.erasures e SET state = 3, completed_at = now(), update_time = now(),
    profile_id = NULL, external_id = NULL
  WHERE e.project = in_project AND e.id = in_id;
  RETURN true;
END $$;

-- Undoes a deletion that still waits (pugd profile restore). in_id: the request's id, or
-- what the ledger says of the person. outcome: 0 done, 1 nothing waits under that id, 2 a
-- new profile has the external_id.
CREATE FUNCTION pugd.erasure_undo(in_project_id text, in_id text)
RETURNS TABLE (request_id text, outcome int) LANGUAGE plpgsql AS $$
DECLARE
  found_one pugd.erasures;
  number    int := (SELECT p.num FROM pugd.projects p WHERE p.id = in_project_id AND p.deleted_at IS NULL);
BEGIN
  outcome := 1;
  IF number IS NOT NULL THEN
    PERFORM pugd.identity_lock(number, true, '{}');
    SELECT * INTO found_one FROM pugd.erasures e
    WHERE e.project = number AND e.state = 1 AND e.due_at > now()
      AND (e.id = in_id OR e.profile_id = in_id OR e.external_id = in_id)
    ORDER BY e.high DESC LIMIT 1 FOR UPDATE;
  END IF;
  IF found_one.id IS NOT NULL THEN
    request_id := found_one.id;
    outcome := CASE WHEN EXISTS (
      SELECT FROM pugd.profiles p JOIN pugd.profiles o ON o.project = p.project
        AND o.external_id = p.external_id AND o.deleted_at IS NULL
      WHERE p.project = number AND p.id = found_one.profile_id AND p.external_id <> '')
      THEN 2 ELSE 0 END;
  END IF;
  IF outcome = 0 THEN
    UPDATE pugd.profiles p SET deleted_at = NULL
    WHERE p.project = number AND p.id = found_one.profile_id;
    DELETE FROM pugd.tombstones t WHERE t.project = number AND t.erasure = found_one.id;
    DELETE FROM pugd.erasures e WHERE e.project = number AND e.id = found_one.id;
  END IF;
  RETURN NEXT;
END $$;
