-- What projects have seen: kinds of events and keys of properties.

-- Of each segment, packed (worker/store/names.h): written with it, gone with it. NULL: not
-- looked at yet, as all that were there before; the keeper does it, and until then a question
-- reads the segment itself.
ALTER TABLE pugd.segment ADD COLUMN names bytea;
ALTER TABLE pugd.segment ALTER names SET STORAGE EXTERNAL;
CREATE INDEX segment_nameless_idx ON pugd.segment (project, day, id) WHERE names IS NULL;

-- The names that count against a project's limits (D82), by list (worker/store/names.h). What a
-- name is in the catalogue for is not noted: it goes when no event of the project has it any
-- more, which the keeper finds out when catalog_state says that it is due. Until then there
-- may be some that no event has (it was not stored) or some too few (events that commit while
-- the keeper looks); both are harmless.
CREATE TABLE pugd.catalog (
  project int      NOT NULL,
  list    smallint NOT NULL,
  name    text     COLLATE "C" NOT NULL,
  since   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (project, list, name)
);

-- A row a project; its lock is what admits names one call at a time.
CREATE TABLE pugd.catalog_state (
  project int PRIMARY KEY,
  due_at  timestamptz -- when the names are to be compared with the events; NULL: they are right
);
CREATE INDEX catalog_state_due_idx ON pugd.catalog_state (due_at) WHERE due_at IS NOT NULL;
INSERT INTO pugd.catalog_state (project, due_at)
SELECT num, now() FROM pugd.projects WHERE deleted_at IS NULL;

-- Adds names of a project, each given once, as long as there is room in their list; of kinds all
-- or, when one finds none, nothing at all. Returns the positions (from 1) of those without
-- room, and of those that were added. Who asks only for what is there, or of lists that are
-- full, waits for nobody.
CREATE FUNCTION pugd.catalog_admit(in_project int, in_list int[], in_name text[], kinds_max int,
  keys_max int, OUT excess int[], OUT added int[])
LANGUAGE plpgsql AS $$
DECLARE
  room  bigint[];
  fits  int[];
  lacks bool; -- there is a kind without room
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT ARRAY[kinds_max - count(*) FILTER (WHERE c.list = 0), keys_max - count(*) FILTER (WHERE c.list = 1),
                 keys_max - count(*) FILTER (WHERE c.list = 2)]
    INTO room FROM pugd.catalog c WHERE c.project = in_project;
    SELECT array_agg(u.no ORDER BY u.no) FILTER (WHERE u.nth <= room[u.list + 1]),
           array_agg(u.no ORDER BY u.no) FILTER (WHERE u.nth > room[u.list + 1]),
           coalesce(bool_or(u.list = 0 AND u.nth > room[1]), false)
    INTO fits, excess, lacks
    FROM (
      SELECT n.list, n.no::int, row_number() OVER (PARTITION BY n.list ORDER BY n.no) AS nth
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
  SELECT in_project, in_list[f], in_name[f] FROM unnest(fits) f;
  added := fits;
  -- perhaps its events will not be stored after all
  UPDATE pugd.catalog_state SET due_at = now() + interval '1 hour'
  WHERE project = in_project AND due_at IS NULL;
END $$;

-- These names the project's events have, as was found at in_found; whatever else is in the
-- catalogue goes, but not what came after that or so shortly before that its events may be
-- on their way (in_spare).
CREATE FUNCTION pugd.catalog_fill(in_project int, in_list int[], in_name text[], in_found timestamptz,
  in_spare interval, keys_max int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  spared  bool;
  present bigint[];
BEGIN
  INSERT INTO pugd.catalog_state (project) VALUES (in_project) ON CONFLICT DO NOTHING;
  PERFORM FROM pugd.catalog_state WHERE project = in_project FOR UPDATE;
  DELETE FROM pugd.catalog c
  WHERE c.project = in_project AND c.since < in_found - in_spare
    AND (c.list, c.name) NOT IN (SELECT u.list, u.name FROM unnest(in_list, in_name) u (list, name));
  SELECT EXISTS (
    SELECT FROM pugd.catalog c WHERE c.project = in_project
      AND (c.list, c.name) NOT IN (SELECT u.list, u.name FROM unnest(in_list, in_name) u (list, name)))
  INTO spared;
  SELECT ARRAY[count(*) FILTER (WHERE c.list = 1), count(*) FILTER (WHERE c.list = 2)]
  INTO present FROM pugd.catalog c WHERE c.project = in_project;
  INSERT INTO pugd.catalog (project, list, name)
  SELECT in_project, n.list, n.name FROM (
    SELECT u.list, u.name, row_number() OVER (PARTITION BY u.list ORDER BY u.name) AS nth
    FROM unnest(in_list, in_name) u (list, name)
    WHERE NOT EXISTS (SELECT FROM pugd.catalog c
                      WHERE c.project = in_project AND c.list = u.list AND c.name = u.name)
  ) n WHERE n.list = 0 OR n.nth <= keys_max - present[n.list];
  UPDATE pugd.catalog_state
  SET due_at = CASE WHEN spared THEN now() + 2 * in_spare END
  WHERE project = in_project AND (due_at IS NULL OR due_at <= in_found OR due_at > now());
END $$;
