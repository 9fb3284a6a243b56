-- What one call costs is no square of what it sends. The functions are those of 013_claim.sql,
-- 009_catalog.sql and 003_people.sql, and answer the same.

-- The other case of storing events: some of the ids are known, or may be. Of those that are
-- suspected the index is asked first, and what it does not know is inserted plainly: ON
-- CONFLICT would cost every event of the group twice as much for the sake of a few. Who is
-- suspected (positions in `id`, from 1; none means all) is a hint and decides nothing: an
-- id that is known all the same fails the insertion of them all, and then each is asked for.
-- Ids come in the order that everybody inserts them in, and a failed insertion lets go of
-- all its locks, so claims cannot deadlock. Each repetition sees what made the one before
-- fail, so it comes to an end; it would not where snapshots last for a transaction.
-- To plan a look-up among all partitions takes as long as a thousand of them, so plans are
-- kept, whatever the day.
-- Batches of dead projects are left out (D91); of others, what was known before and what is
-- older than the project's retention (D20) comes back as positions, and the blob hides them.
CREATE OR REPLACE FUNCTION pugd.events_claim(project int[], day date[], id uuid[], batch int[],
  pos int[], suspects int[], b_project int[], b_n int[], b_tmin bigint[], b_tmax bigint[],
  b_data bytea[])
RETURNS TABLE (no int, live bool, refused int[], expired int[]) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
  alive bool[];          -- by batch
  floors date[];
  odd   bool;            -- some batch is of a dead project or has expired events
  gone  int[] := '{}';   -- positions in id: those events
  known int[];
  skip  bool[];          -- by position in id: to be left out
  d     date;
  those int[];           -- the suspects of that day
  i     int;
BEGIN
  SELECT array_agg(p.num IS NOT NULL ORDER BY b.no),
         array_agg(today - p.retention_days ORDER BY b.no),
         bool_or(p.num IS NULL OR
                 b.tmin < 1000 * extract(epoch FROM today - p.retention_days)::bigint)
  INTO alive, floors, odd
  FROM (SELECT (now() AT TIME ZONE 'UTC')::date) t (today),
       unnest(b_project, b_tmin) WITH ORDINALITY b (num, tmin, no)
  LEFT JOIN pugd.projects p ON p.num = b.num AND p.deleted_at IS NULL;
  IF odd THEN
    gone := ARRAY(
      SELECT e.no FROM unnest(day, batch) WITH ORDINALITY e (day, batch, no)
      WHERE NOT alive[e.batch] OR e.day < floors[e.batch]);
  END IF;
  FOR attempt IN 1 .. 16 LOOP
    IF coalesce(cardinality(suspects), 0) = 0 OR attempt > 1 THEN
      suspects := ARRAY(SELECT generate_series(1, cardinality(id)));
    END IF;
    skip := array_fill(false, ARRAY[cardinality(id)]);
    FOREACH i IN ARRAY gone LOOP
      skip[i] := true;
    END LOOP;
    -- Day by day, because then only that day's partition is opened; each with its own, for to
    -- look through all of them for each day would cost the square of a group of many days. A
    -- scalar subquery stays a look-up for each id; EXISTS could become a scan of all that are
    -- known.
    known := '{}';
    FOR d, those IN
      SELECT day[s.no], array_agg(s.no) FROM unnest(suspects) s (no) WHERE NOT skip[s.no]
      GROUP BY 1
    LOOP
      known := known || ARRAY(
        SELECT s.no FROM unnest(those) s (no)
        WHERE (
          SELECT true FROM pugd.event_seen k
          WHERE k.project = project[s.no] AND k.day = d AND k.event_id = id[s.no]));
    END LOOP;
    FOREACH i IN ARRAY known LOOP
      skip[i] := true;
    END LOOP;
    BEGIN
      INSERT INTO pugd.event_seen (project, day, event_id)
      SELECT e.project, e.day, e.id
      FROM unnest(project, day, id, skip) e (project, day, id, skip) WHERE NOT e.skip;
      RETURN QUERY
      WITH hidden AS MATERIALIZED (
        SELECT h.batch, count(*)::int AS n,
               array_agg(h.pos ORDER BY h.pos) FILTER (WHERE NOT h.old) AS known,
               array_agg(h.pos ORDER BY h.pos) FILTER (WHERE h.old) AS old
        FROM (SELECT batch[k.no], pos[k.no], false FROM unnest(known) k (no)
              UNION ALL SELECT batch[g.no], pos[g.no], true FROM unnest(gone) g (no)
             ) h (batch, pos, old)
        GROUP BY h.batch
      ), stored AS (
        INSERT INTO pugd.inbox (project, n, stored, tmin, tmax, receive_day, refused, data)
        SELECT b.project, b.n, b.n - coalesce(h.n, 0), b.tmin, b.tmax,
               (now() AT TIME ZONE 'UTC')::date, h.known || h.old, b.data
        FROM unnest(b_project, b_n, b_tmin, b_tmax, b_data)
          WITH ORDINALITY b (project, n, tmin, tmax, data, no)
        LEFT JOIN hidden h ON h.batch = b.no
        WHERE alive[b.no] AND b.n > coalesce(h.n, 0)
      )
      SELECT b.no::int, alive[b.no], h.known, CASE WHEN alive[b.no] THEN h.old END
      FROM unnest(b_project) WITH ORDINALITY b (num, no) LEFT JOIN hidden h ON h.batch = b.no;
      RETURN;
    EXCEPTION WHEN unique_violation THEN
      NULL; -- once more, and now all of them are suspected
    END;
  END LOOP;
  RAISE EXCEPTION 'the ids of a group kept being taken by others' USING ERRCODE = '40001';
END $$;

-- Adds names of a project, each given once, as long as there is room in their list; of kinds all
-- or, when one finds none, nothing at all. Returns the positions (from 1) of those without
-- room, and of those that were added. Who asks only for what is there, or of lists that are
-- full, waits for nobody.
CREATE OR REPLACE FUNCTION pugd.catalog_admit(in_project int, in_list int[], in_name text[],
  kinds_max int, keys_max int, OUT excess int[], OUT added int[])
LANGUAGE plpgsql AS $$
DECLARE
  room  bigint[];
  fits  int[];
  lists int[];  -- of those that fit: in_list[f] may walk through the array for each of them
  names text[];
  lacks bool;   -- there is a kind without room
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT ARRAY[kinds_max - count(*) FILTER (WHERE c.list = 0),
                 keys_max - count(*) FILTER (WHERE c.list = 1),
                 keys_max - count(*) FILTER (WHERE c.list = 2)]
    INTO room FROM pugd.catalog c WHERE c.project = in_project;
    SELECT array_agg(u.no ORDER BY u.no) FILTER (WHERE u.nth <= room[u.list + 1]),
           array_agg(u.list ORDER BY u.no) FILTER (WHERE u.nth <= room[u.list + 1]),
           array_agg(u.name ORDER BY u.no) FILTER (WHERE u.nth <= room[u.list + 1]),
           array_agg(u.no ORDER BY u.no) FILTER (WHERE u.nth > room[u.list + 1]),
           coalesce(bool_or(u.list = 0 AND u.nth > room[1]), false)
    INTO fits, lists, names, excess, lacks
    FROM (
      SELECT n.list, n.name, n.no::int, row_number() OVER (PARTITION BY n.list ORDER BY n.no) AS nth
      FROM unnest(in_list, in_name) WITH ORDINALITY n (list, name, no)
      WHERE NOT EXISTS (SELECT FROM pugd.catalog c
                        WHERE c.project = in_project AND c.list = n.list AND c.name = n.name)
    ) u;
    IF fits IS NULL OR lacks THEN
      RETURN;
    END IF;
    EXIT WHEN attempt = 2;
    INSERT INTO pugd.catalog_state (project) VALUES (in_project) ON CONFLICT DO NOTHING;
    PERFORM FROM pugd.catalog_state WHERE project = in_project FOR UPDATE;
  END LOOP;
  INSERT INTO pugd.catalog (project, list, name)
  SELECT in_project, n.list, n.name FROM unnest(lists, names) n (list, name);
  added := fits;
  -- perhaps its events will not be stored after all
  UPDATE pugd.catalog_state SET due_at = now() + interval '1 hour'
  WHERE project = in_project AND due_at IS NULL;
END $$;

-- Identify. No row: the project is gone. `taken`: in_anonymous is somebody's external_id.
CREATE OR REPLACE FUNCTION pugd.identify(in_project int, in_new text, in_external text,
  in_anonymous text, in_traits jsonb, in_removed text[])
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
    -- jsonb - text[] compares each key with each that is removed, and hears no timeout; for a
    -- few it is the cheapest.
    UPDATE pugd.profiles p SET update_time = clock_timestamp(),
      properties = CASE WHEN cardinality(in_removed) <= 64 THEN p.properties - in_removed ELSE (
        SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(p.properties) e
        WHERE NOT EXISTS (SELECT FROM unnest(in_removed) r (key) WHERE r.key = e.key)
      ) END || in_traits
    WHERE p.project = in_project AND p.id = profile_id;
  END IF;
  IF joins THEN
    PERFORM pugd.identity_join(in_project, ARRAY[in_anonymous], profile_id);
  END IF;
  RETURN NEXT;
END $$;
