-- Distinct ids as dense numbers, so that a query over millions of events adds numbers up
-- instead of looking texts up (worker/store/numbers.h).

-- Under which ids become 64-bit digests (SipHash-2-4): nobody who does not know it can make
-- two that collide. Of a project, and never changed.
ALTER TABLE pugd.projects ADD COLUMN digest_key bytea NOT NULL
  DEFAULT pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
  CHECK (octet_length(digest_key) = 16);

-- The numbers that a project has given out: those of [first, first + n), of which each has 8
-- bytes of `digests`, little-endian; 0: nobody's any more (erased). Numbers start at 1, have
-- no gaps between blocks, and are never given out again. Only sealing adds any, alone, under
-- pugd.numbers_lock(). Ids of cookieless visitors, new every day, have none.
CREATE TABLE pugd.number_block (
  project int   NOT NULL,
  first   int   NOT NULL CHECK (first > 0),
  n       int   NOT NULL CHECK (n > 0),
  digests bytea NOT NULL,
  CHECK (octet_length(digests) = 8 * n),
  PRIMARY KEY (project, first)
);
ALTER TABLE pugd.number_block ALTER digests SET STORAGE EXTERNAL;

-- Comes after seal_lock(). Ends with the transaction.
CREATE FUNCTION pugd.numbers_lock(in_project int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(1886744425, in_project);
END $$;

-- numbered: the segment has the part that says the number of each event's distinct id.
-- kinds: of a segment of several (kind ''), all that it holds; NULL: they are not known.
ALTER TABLE pugd.segment ADD COLUMN numbered bool NOT NULL DEFAULT false,
  ADD COLUMN kinds text[] COLLATE "C";
