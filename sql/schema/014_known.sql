-- Which of these ids were stored before: positions in `id`, from 1. Asked before a group of which
-- some are suspected is encoded: what is known is neither claimed nor written nor sealed again,
-- and the rest is mostly new and takes the short way (events_store). What this says stays true,
-- because claims are not taken back while the project lives and the day is within its retention.
-- Should a project be dead (D91) or an event expired (D20), nothing is known: events_claim tells
-- them apart. `b_day` is the first day of each project `b_project`.
-- Ids come day by day, `past` of them up to the end of each day, because then only that day's
-- partition is opened; plans are kept, for to plan takes as long as a thousand look-ups. A scalar
-- subquery stays a look-up for each id; EXISTS could become a scan of all that are known.
CREATE FUNCTION pugd.events_known(project int[], id uuid[], day date[], past int[],
  b_project int[], b_day date[])
RETURNS int[] LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
DECLARE
  known int[] := '{}';
  first int := 1;
  d date;
BEGIN
  IF EXISTS (
    SELECT FROM unnest(b_project, b_day) b (num, day)
    LEFT JOIN pugd.projects p ON p.num = b.num AND p.deleted_at IS NULL
    WHERE p.num IS NULL OR b.day < (now() AT TIME ZONE 'UTC')::date - p.retention_days
  ) THEN
    RETURN known;
  END IF;
  FOR i IN 1 .. cardinality(day) LOOP
    d := day[i];
    known := known || ARRAY(
      SELECT first + e.no::int - 1
      FROM unnest(project[first : past[i]], id[first : past[i]]) WITH ORDINALITY e (project, id, no)
      WHERE (
        SELECT true FROM pugd.event_seen k
        WHERE k.project = e.project AND k.day = d AND k.event_id = e.id));
    first := past[i] + 1;
  END LOOP;
  RETURN known;
END $$;
