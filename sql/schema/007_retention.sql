-- retention_days: how many whole UTC days before today a project's events are kept; NULL:
-- for ever (D20). Older events are not accepted, not shown, and erased by the keeper.
ALTER TABLE pugd.projects ADD CONSTRAINT projects_retention_check
  CHECK (retention_days <= 36500);

-- The first moment that is kept, in milliseconds; NULL: no retention.
CREATE FUNCTION pugd.retention_floor(in_project int) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT (extract(epoch FROM (now() AT TIME ZONE 'UTC')::date - p.retention_days) * 1000)::bigint
  FROM pugd.projects p WHERE p.num = in_project AND p.retention_days IS NOT NULL
$$;
