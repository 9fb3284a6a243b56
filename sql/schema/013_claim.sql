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
CREATE FUNCTION pugd.events_claim(project int[], day date[], id uuid[], batch int[], pos int[],
  suspects int[], b_project int[], b_n int[], b_tmin bigint[], b_tmax bigint[], b_data bytea[])
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
    -- Day by day, because then only that day's partition is opened. A scalar subquery stays
    -- a look-up for each id; EXISTS could become a scan of all that are known.
    known := '{}';
    FOR d IN SELECT DISTINCT day[s.no] FROM unnest(suspects) s (no) LOOP
      known := known || ARRAY(
        SELECT s.no FROM unnest(suspects) s (no)
        WHERE day[s.no] = d AND NOT skip[s.no] AND (
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
