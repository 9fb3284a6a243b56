-- pugd verify (worker/cli/verify.c): everything that is stored, streamed inside one
-- snapshot. Deleted projects are left to purge.

-- name: verify_total :one
-- lane: slow
-- columns: events int8
-- What there is to read, for the progress bar.
SELECT (coalesce((SELECT sum(n) FROM pugd.inbox), 0)
  + coalesce((SELECT sum(n) FROM pugd.segment), 0))::int8;

-- name: verify_projects :many
-- lane: slow
-- columns: project int4, used int8, claimed int8, digest_key bytea
-- unbounded: one row a live project
-- Events ever stored, as usage counts them (D42), and ids ever claimed: always equal, also
-- when persons were erased (claims stay) or a retention dropped claims, which are counted.
SELECT p.num,
  (coalesce((SELECT sum(u.events) FROM pugd.usage_days u WHERE u.project = p.num), 0)
   + coalesce((SELECT sum(i.stored) FROM pugd.inbox i WHERE i.project = p.num), 0))::int8,
  (p.claims_dropped + (SELECT count(*) FROM pugd.event_seen e WHERE e.project = p.num))::int8,
  p.digest_key
FROM pugd.projects p WHERE p.deleted_at IS NULL ORDER BY p.num;

-- name: verify_inbox :many
-- lane: slow
-- params: project int4
-- columns: id int8, n int4, stored int4, tmin int8, tmax int8, refused int4[]?, data bytea
-- unbounded: streamed
SELECT id, n, stored, tmin, tmax, refused, data FROM pugd.inbox WHERE project = $1 ORDER BY id;

-- name: verify_numbers :many
-- lane: slow
-- params: project int4
-- columns: first int4, n int4, digests bytea
-- unbounded: streamed
SELECT first, n, digests FROM pugd.number_block WHERE project = $1 ORDER BY first;

-- name: verify_days :many
-- lane: slow
-- params: project int4
-- columns: day date
-- unbounded: one row a day that has segments
SELECT DISTINCT day FROM pugd.segment WHERE project = $1 ORDER BY day;

-- name: verify_segments :many
-- lane: slow
-- params: project int4, day date
-- columns: id int8, kind text, n int4, tmin int8, tmax int8, bytes int8, columns int4, part int4[]?, scope int4[]?, key text[]?, raw int4[]?, stored int4[]?, crc int4[]?, data bytea?, names bytea?, numbered bool, kinds text[]?
-- unbounded: streamed
SELECT s.id, s.kind, s.n, s.tmin, s.tmax, s.bytes, s.columns, c.*, s.names,
  s.numbered, s.kinds
FROM pugd.segment s CROSS JOIN LATERAL (
  SELECT array_agg(c.part::int4), array_agg(c.scope::int4), array_agg(c.key), array_agg(c.raw),
         array_agg(octet_length(c.data)), array_agg(c.crc), string_agg(c.data, ''::bytea)
  FROM pugd.segment_column c WHERE c.project = $1 AND c.segment = s.id
) c
WHERE s.project = $1 AND s.day = $2;

-- name: verify_seen :many
-- lane: slow
-- params: project int4, day date
-- columns: event_id uuid
-- unbounded: streamed
SELECT event_id FROM pugd.event_seen WHERE project = $1 AND day = $2 ORDER BY event_id;

-- name: verify_orphans :one
-- lane: slow
-- columns: columns int8
-- Columns of segments that do not exist.
SELECT count(*) FROM pugd.segment_column c
WHERE NOT EXISTS (SELECT 1 FROM pugd.segment s WHERE s.project = c.project AND s.id = c.segment);
