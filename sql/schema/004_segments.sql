-- Level 1 of the event store (storage.md, "The decision"): what was sealed, a row a
-- segment and a row a column, so that a query reads only the columns that it names.

-- A segment holds events of one UTC day of occur_time, in the order (time, event id);
-- of one kind, or of several rare ones (kind '': worker/store/merge.h). Times in
-- milliseconds since the epoch. tier: how often its events were merged. received_*: of the inbox rows that it was made of, so
-- that an erasure knows what came before it (D27). The day is in the key, which makes
-- a window one range of it.
CREATE SEQUENCE pugd.segment_id AS bigint CACHE 32;
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
  received_min timestamptz NOT NULL,
  received_max timestamptz NOT NULL,
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
