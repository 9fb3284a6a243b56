-- Level 1 of the event store (storage.md, "The decision"): what was sealed, a row a
-- segment and a row a column, so that a query reads only the columns that it names.

-- A segment holds events of one UTC day of occur_time, in the order (time, event id);
-- of one kind, or of several rare ones (kind '': worker/store/merge.h). Times in
-- milliseconds since the epoch. tier: how often its events were merged. place: the greatest
-- id of the inbox rows that it was made of; no deletion's `high` lies between that of any two
-- of them, so that it says for all of them what came before a deletion (D27). The day is in
-- the key, which makes a window one range of it.
-- Ids grow in the order in which they are drawn, under seal_lock(): what is made later has
-- a greater one than everything that is there.
CREATE SEQUENCE pugd.segment_id AS bigint CACHE 1;
CREATE TABLE pugd.segment (
  project      int    NOT NULL,
  day          date   NOT NULL,
  id           bigint NOT NULL,
  kind         text   COLLATE "C" NOT NULL,
  n            int    NOT NULL CHECK (n BETWEEN 1 AND 65536),
  tmin         bigint NOT NULL,
  tmax         bigint NOT NULL CHECK (tmax >= tmin),
  tier         smallint NOT NULL,
  columns      int    NOT NULL CHECK (columns > 0),
  bytes        bigint NOT NULL, -- of all its columns, as stored
  place        bigint NOT NULL,
  sealed_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, day, id)
);

-- part, scope: the numbers of worker/store/evseg.h and value.h. raw: bytes when
-- unpacked. crc: CRC-32C over segment, part, scope, key, raw and data, so that a column
-- cannot be taken for another one.
CREATE TABLE pugd.segment_column (
  project int      NOT NULL,
  segment bigint   NOT NULL,
  part    smallint NOT NULL,
  scope   smallint NOT NULL DEFAULT 0,
  key     text     COLLATE "C" NOT NULL DEFAULT '',
  raw     int      NOT NULL,
  crc     int      NOT NULL,
  data    bytea    NOT NULL,
  PRIMARY KEY (project, segment, part, scope, key)
);
ALTER TABLE pugd.segment_column ALTER data SET STORAGE EXTERNAL;

-- The inbox now empties as fast as it fills: its dead rows must go by their number, not
-- by a share of a table that is hardly ever large.
ALTER TABLE pugd.inbox SET (autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 100000, autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 2000, toast.autovacuum_vacuum_scale_factor = 0,
  toast.autovacuum_vacuum_threshold = 20000);

-- Who writes segments of a project shares it, and draws their ids after it; alone is an
-- erasure while it takes its snapshot, so that no segment turns up later among those that
-- it has seen. Ends with the transaction.
CREATE FUNCTION pugd.seal_lock(in_project int, whole bool) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF whole THEN
    PERFORM pg_catalog.pg_advisory_xact_lock(1886744424, in_project);
  ELSE
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(1886744424, in_project);
  END IF;
END $$;

-- Claimed ids that a retention has dropped: with those that are there they are as many as
-- events were ever stored (pugd verify).
ALTER TABLE pugd.projects ADD COLUMN claims_dropped bigint NOT NULL DEFAULT 0;
