-- The common case of storing events, at less than half of the cost: all ids are new. What
-- events_claim needs to tell known ids apart (INSERT ... ON CONFLICT looks each id up first,
-- takes a lock for it and logs a second record) costs more than the claim itself. Here a
-- known id fails the claim of them all; the block around it keeps that out of the server's
-- log. False: nothing was stored, events_claim must look more closely. So it is for batches
-- of dead projects (D91) and for events before a project's retention (D20), too.
-- Ids come in the order that everybody inserts them in, so claims cannot deadlock.
CREATE FUNCTION pugd.events_store(project int[], day date[], id uuid[],
  b_project int[], b_n int[], b_tmin bigint[], b_tmax bigint[], b_data bytea[])
RETURNS bool LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  IF EXISTS (
    SELECT FROM unnest($4, $6) b (num, tmin)
    LEFT JOIN pugd.projects p ON p.num = b.num AND p.deleted_at IS NULL
    WHERE p.num IS NULL OR b.tmin < 1000 * extract(epoch FROM
      (now() AT TIME ZONE 'UTC')::date - p.retention_days)::bigint
  ) THEN
    RETURN false;
  END IF;
  BEGIN
    INSERT INTO pugd.event_seen (project, day, event_id) SELECT * FROM unnest($1, $2, $3);
    INSERT INTO pugd.inbox (project, n, stored, tmin, tmax, receive_day, data)
    SELECT b.project, b.n, b.n, b.tmin, b.tmax, (now() AT TIME ZONE 'UTC')::date, b.data
    FROM unnest($4, $5, $6, $7, $8) b (project, n, tmin, tmax, data);
  EXCEPTION WHEN unique_violation THEN
    RETURN false;
  END;
  RETURN true;
END $$;
