-- How far each import came (pugd import): bytes of its source that are stored, and the
-- digest of just these bytes, by which the source is known again. Losing a row costs
-- time only: events that are known already are not stored twice (D20).
CREATE TABLE pugd.imports (
  project     int    NOT NULL,
  source      text   NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 4096),
  read_bytes  bigint NOT NULL CHECK (read_bytes >= 0),
  read_sha256 bytea  NOT NULL CHECK (octet_length(read_sha256) = 32),
  update_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project, source)
);
