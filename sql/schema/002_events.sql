-- Events (storage.md, "The decision"). Every table has the project first in its
-- primary key and no foreign key, so that rows can be distributed by project and
-- an ingestion never waits for a row of the control tables.

-- Exactly once (D20): the ids that were ever accepted, by UTC day of occur_time.
-- Partitioned by day from the start, so that a day can later be retired into the
-- segments by DROP. Days before the installation get a partition a year: they see
-- imports and stray clocks only, and 26 years of days would be 9 500 tables.
CREATE TABLE pugd.event_seen (
  project  int  NOT NULL,
  day      date NOT NULL,
  event_id uuid NOT NULL,
  PRIMARY KEY (project, day, event_id)
) PARTITION BY RANGE (day);

-- One partition for [first, next). Made beside the table and then attached, which
-- lets inserts into other partitions go on; CREATE ... PARTITION OF would not.
CREATE FUNCTION pugd.event_seen_partition(name text, first date, next date) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE pugd.%I (LIKE pugd.event_seen INCLUDING ALL)', name);
  EXECUTE format('ALTER TABLE pugd.event_seen ATTACH PARTITION pugd.%I FOR VALUES FROM (%L) TO (%L)',
                 name, first, next);
END $$;

-- Makes the daily partitions that are missing among these days. The keeper calls
-- it ahead of time, a claim that met a missing day calls it and tries again.
-- Returns how many were made.
CREATE FUNCTION pugd.event_seen_ensure(days date[]) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
  floor date;
  made  int := 0;
  d     date;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(7203105534177246);
  -- everything before the first daily partition belongs to a yearly one
  SELECT min(to_date(substr(c.relname, 12), 'YYYYMMDD')) INTO floor
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'pugd.event_seen'::regclass AND c.relname ~ '^event_seen_[0-9]{8}$';
  FOR d IN SELECT DISTINCT u FROM unnest(days) u WHERE u >= floor ORDER BY u LOOP
    IF to_regclass('pugd.event_seen_' || to_char(d, 'YYYYMMDD')) IS NULL THEN
      PERFORM pugd.event_seen_partition('event_seen_' || to_char(d, 'YYYYMMDD'), d, d + 1);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;

-- Every day of a range, both ends included.
CREATE FUNCTION pugd.events_partitions_ensure(first date, last date) RETURNS int
LANGUAGE sql AS $$
  SELECT pugd.event_seen_ensure(ARRAY(
    SELECT d::date FROM generate_series(first::timestamp, last::timestamp, interval '1 day') d))
$$;

-- 2000 is the first year that D23 admits; days from a week ago on are daily.
DO $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  floor date := today - 7;
BEGIN
  FOR y IN 2000 .. extract(year FROM floor)::int LOOP
    IF make_date(y, 1, 1) < floor THEN
      PERFORM pugd.event_seen_partition('event_seen_y' || y, make_date(y, 1, 1),
                                        least(make_date(y + 1, 1, 1), floor));
    END IF;
  END LOOP;
  PERFORM pugd.event_seen_partition('event_seen_' || to_char(floor, 'YYYYMMDD'), floor, floor + 1);
  PERFORM pugd.events_partitions_ensure(floor, today + 7);
END $$;

-- Level 0: what one group commit accepted for one project (worker/store/evseg.h).
-- The blob is compressed already, hence EXTERNAL. `refused` are positions whose id
-- was stored before: readers mask them. Times in milliseconds since the epoch.
CREATE SEQUENCE pugd.inbox_id AS bigint CACHE 32;
CREATE TABLE pugd.inbox (
  project     int    NOT NULL,
  id          bigint NOT NULL DEFAULT nextval('pugd.inbox_id'),
  n           int    NOT NULL CHECK (n BETWEEN 1 AND 65536),
  stored      int    NOT NULL CHECK (stored BETWEEN 1 AND n),
  tmin        bigint NOT NULL,
  tmax        bigint NOT NULL CHECK (tmax >= tmin),
  receive_day date   NOT NULL, -- UTC; usage is counted by it (D42)
  received_at timestamptz NOT NULL DEFAULT now(),
  refused     int[],
  data        bytea  NOT NULL,
  PRIMARY KEY (project, id)
);
ALTER TABLE pugd.inbox ALTER data SET STORAGE EXTERNAL;

-- Identified people (D25, D26, D60). A deleted profile keeps its row until erased,
-- but no longer reserves its external_id.
CREATE TABLE pugd.profiles (
  project     int  NOT NULL,
  id          pugd.xid NOT NULL,
  external_id text NOT NULL CHECK (octet_length(external_id) <= 512),
  properties  jsonb NOT NULL DEFAULT '{}',
  create_time timestamptz NOT NULL DEFAULT now(),
  update_time timestamptz NOT NULL DEFAULT now(),
  deleted_at  timestamptz,
  PRIMARY KEY (project, id)
);
CREATE UNIQUE INDEX profiles_external_id_key
  ON pugd.profiles (project, external_id) WHERE deleted_at IS NULL AND external_id <> '';

-- Other ids of a person, flattened: profile_id is never itself an alias.
CREATE TABLE pugd.aliases (
  project     int  NOT NULL,
  alias_id    text NOT NULL CHECK (octet_length(alias_id) BETWEEN 1 AND 512),
  profile_id  pugd.xid NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, alias_id)
);
CREATE INDEX aliases_profile_idx ON pugd.aliases (project, profile_id);
