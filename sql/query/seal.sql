-- Sealing: level 0 to level 1 (worker/store/sealer.c). One transaction of READ COMMITTED
-- takes rows of the inbox and puts segments; what is in neither or in both is never seen.

-- name: seal_due :many
-- lane: slow
-- params: events int8, commits int8, age_us int8
-- columns: project int4, events int8
-- Projects with so many events waiting, or so many rows of them, or with one that has waited so
-- long; those that wait longest first. Deleted ones are left to purge.
SELECT i.project, sum(i.stored)::int8
FROM pugd.inbox i JOIN pugd.projects p ON p.num = i.project AND p.deleted_at IS NULL
GROUP BY i.project
HAVING sum(i.stored) >= $1 OR count(*) >= $2
  OR min(i.received_at) <= now() - $3 * interval '1 microsecond'
ORDER BY min(i.received_at)
LIMIT 1000;

-- name: seal_tail :one
-- lane: tx
-- columns: events int8, age_us int8
-- What waits in all projects, and for how long the oldest has; not on the fast lane, because a
-- long tail takes a while to count. Deleted projects are left to purge.
SELECT coalesce(sum(i.stored), 0)::int8,
  coalesce(extract(epoch FROM now() - min(i.received_at)) * 1000000, 0)::int8
FROM pugd.inbox i JOIN pugd.projects p ON p.num = i.project AND p.deleted_at IS NULL;

-- name: seal_list :many
-- lane: slow
-- params: project int4, not_these int8[], batch int4
-- columns: id int8, n int4, bytes int4
-- What waits, oldest first, without the blobs; those that could not be read are left alone.
SELECT id, n, octet_length(data) FROM pugd.inbox
WHERE project = $1 AND id <> ALL ($2)
ORDER BY id LIMIT $3;

-- name: seal_fence :one
-- lane: tx
-- volatile: waits
-- params: project int4
-- columns: done bool
-- Waits for the deletions under way: what was given out by pugd.inbox_order before them is
-- below their `high`, whatever was stored when.
SELECT true FROM pugd.identity_lock($1, false, '{}');

-- name: seal_highs :many
-- params: project int4
-- columns: high int8
-- unbounded: one row an erasure that is not over
-- Nothing from both sides of one of these may come into one segment.
SELECT DISTINCT high FROM pugd.tombstones WHERE project = $1 ORDER BY high;

-- name: seal_lock :one
-- lane: tx
-- volatile: takes a lock
-- params: project int4, whole bool
-- columns: done bool
SELECT true FROM pugd.seal_lock($1, $2);

-- name: seal_take :many
-- lane: tx
-- params: project int4, from_id int8, to_id int8, ids int8[]
-- columns: id int8, n int4, stored int4, refused int4[]?, data bytea
-- unbounded: the caller's list is bounded in rows and bytes
-- Takes rows out and counts them for their days in the same moment, so that usage is right
-- at any time (D42). What another keeper has taken is not there; days in one order, so
-- keepers do not deadlock. The range of ids is for the planner, as in purge.sql.
WITH doomed AS (
  SELECT ctid FROM pugd.inbox
  WHERE project = $1 AND id BETWEEN $2 AND $3 AND id = ANY ($4)
  ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM pugd.inbox i
  WHERE i.project = $1 AND i.id BETWEEN $2 AND $3
    AND i.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING i.id, i.n, i.stored, i.refused, i.data, i.receive_day
), counted AS (
  INSERT INTO pugd.usage_days (project, day, events)
  SELECT $1, receive_day, sum(stored) FROM gone GROUP BY receive_day ORDER BY receive_day
  ON CONFLICT (project, day) DO UPDATE SET events = usage_days.events + excluded.events
)
SELECT id, n, stored, refused, data FROM gone ORDER BY id;

-- name: seal_tidy :exec
-- lane: tx
-- Room of rows that were taken can be used again; not in a transaction. Autovacuum comes once
-- a minute, and until then every reader of the inbox walks past all that went since. Without
-- giving pages back, which locks readers and writers out for a moment.
VACUUM (SKIP_LOCKED true, TRUNCATE false) pugd.inbox;

-- name: seal_shrink :exec
-- lane: tx
-- The same, and empty pages at the end go back to the file system.
VACUUM (SKIP_LOCKED true) pugd.inbox;

-- name: segment_ids :many
-- lane: tx
-- volatile: takes numbers
-- params: n int4
-- columns: id int8
-- unbounded: n rows
SELECT nextval('pugd.segment_id') FROM generate_series(1, $1);

-- name: segment_put :exec
-- lane: tx
-- params: project int4, day date[], id int8[], kind text[], n int4[], tmin int8[], tmax int8[], columns int4[], bytes int8[], names bytea[], numbered bool[], tier int4, place int8, of int8[], kinds text[]
-- kinds: of those segments that hold several, one by one; `of` says whose each of them is.
INSERT INTO pugd.segment
  (project, day, id, kind, n, tmin, tmax, columns, bytes, names, numbered, tier, place, kinds)
SELECT $1, u.*, $12::int2, $13, k.kinds
FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11) u (day, id)
LEFT JOIN (
  SELECT l.id, array_agg(l.kind ORDER BY l.kind COLLATE "C") AS kinds
  FROM unnest($14, $15) l (id, kind) GROUP BY l.id
) k ON k.id = u.id;

-- name: segment_columns_put :exec
-- lane: tx
-- params: project int4, segment int8[], part int4[], scope int4[], key text[], raw int4[], crc int4[], data bytea[]
INSERT INTO pugd.segment_column (project, segment, part, scope, key, raw, crc, data)
SELECT $1, u.* FROM unnest($2, $3::smallint[], $4::smallint[], $5, $6, $7, $8) u;

-- name: merge_due :many
-- lane: slow
-- params: project int4, days date[]?, n_full int4, tier_full int4, fan int4, highs int8[], passed int4
-- columns: day date, kind text, tier int4, side int4
-- What pays to be merged on these days (NULL: all): as many as `fan` small segments of a tier,
-- of the same side of every deletion. Without the first `passed` of them.
SELECT s.day, s.kind, s.tier::int4, width_bucket(s.place, $6) FROM pugd.segment s
WHERE s.project = $1 AND ($2 IS NULL OR s.day = ANY ($2)) AND s.n < $3 AND s.tier < $4
GROUP BY s.day, s.kind, s.tier, 4 HAVING count(*) >= $5
ORDER BY s.day, s.tier, s.kind, 4
LIMIT 32 OFFSET $7;

-- name: merge_list :many
-- lane: slow
-- params: project int4, day date, kind text, tier int4, n_full int4, highs int8[], side int4
-- columns: id int8, n int4, bytes int8, place int8
-- Oldest first; more than can be merged at once is no use.
SELECT s.id, s.n, s.bytes, s.place FROM pugd.segment s
WHERE s.project = $1 AND s.day = $2 AND s.kind = $3 AND s.tier = $4 AND s.n < $5
  AND width_bucket(s.place, $6) = $7
ORDER BY s.id LIMIT 64;

-- name: segments_project :one
-- lane: slow
-- params: after int4
-- columns: project int4
-- The next live project that has segments; none: that was the last.
SELECT p.num FROM pugd.projects p
WHERE p.num > $1 AND p.deleted_at IS NULL AND EXISTS (SELECT 1 FROM pugd.segment s WHERE s.project = p.num)
ORDER BY p.num LIMIT 1;

-- name: segments_take :many
-- lane: tx
-- params: project int4, day date, ids int8[]
-- columns: id int8, n int4, columns int4, tier int4, place int8
-- unbounded: the caller's list is bounded
-- Takes segments of one day out; what another keeper has taken is not there. In the order
-- of ids, so that takers do not deadlock.
WITH doomed AS (
  SELECT ctid FROM pugd.segment
  WHERE project = $1 AND day = $2 AND id = ANY ($3) ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM pugd.segment s
  WHERE s.project = $1 AND s.day = $2 AND s.ctid = ANY (ARRAY(SELECT ctid FROM doomed))
  RETURNING s.id, s.n, s.columns, s.tier, s.place
)
SELECT id, n, columns, tier::int4, place FROM gone ORDER BY id;

-- name: segment_wait :one
-- lane: tx
-- volatile: locks a row
-- params: project int4, day date, id int8
-- columns: id int8
-- For whoever cannot leave a segment to the keeper that has taken it. None: it is gone.
SELECT id FROM pugd.segment WHERE project = $1 AND day = $2 AND id = $3 FOR UPDATE;

-- name: segment_columns_take :many
-- lane: tx
-- params: project int4, segment int8
-- columns: part int4, scope int4, key text, raw int4, crc int4, data bytea
-- unbounded: the columns of one segment
DELETE FROM pugd.segment_column WHERE project = $1 AND segment = $2
RETURNING part::int4, scope::int4, key, raw, crc, data;

-- name: numbers_key :one
-- lane: tx
-- params: project int4
-- columns: key bytea, next int4
-- Under which the project's distinct ids become digests, and the number that comes next.
SELECT p.digest_key, coalesce((
  SELECT b.first + b.n FROM pugd.number_block b WHERE b.project = $1
  ORDER BY b.first DESC LIMIT 1), 1)
FROM pugd.projects p WHERE p.num = $1;

-- name: numbers_lock :one
-- lane: tx
-- volatile: takes a lock
-- params: project int4
-- columns: done bool
SELECT true FROM pugd.numbers_lock($1);

-- name: numbers_blocks :many
-- lane: tx
-- params: project int4, from_number int4
-- columns: first int4, n int4, digests bytea
-- Some at a time: a project may have 512 of 64 KB.
SELECT first, n, digests FROM pugd.number_block
WHERE project = $1 AND first >= $2 ORDER BY first LIMIT 32;

-- name: numbers_put :exec
-- lane: tx
-- params: project int4, first int4[], n int4[], digests bytea[]
-- New blocks, and what is added to one that is there.
INSERT INTO pugd.number_block AS b (project, first, n, digests)
SELECT $1, u.* FROM unnest($2, $3, $4) u
ON CONFLICT (project, first) DO UPDATE
SET n = b.n + excluded.n, digests = b.digests || excluded.digests;

-- name: numbers_retire :exec
-- lane: tx
-- params: project int4, first int4, digests bytea
-- The same block with some of its digests gone.
UPDATE pugd.number_block SET digests = $3 WHERE project = $1 AND first = $2;

-- name: numberless_total :one
-- lane: slow
-- columns: events int8
-- What numberless_list will find, for the progress bar.
SELECT coalesce(sum(s.n), 0)::int8 FROM pugd.segment s WHERE NOT s.numbered;

-- name: numberless_list :many
-- lane: slow
-- params: after_project int4, after_day date, after_id int8
-- columns: project int4, day date, id int8, n int4
-- Segments from before there were numbers, or for which there were none left; of deleted
-- projects, too, until purge comes to them. By primary key: whoever has come to the end does
-- not ask again soon.
SELECT s.project, s.day, s.id, s.n FROM pugd.segment s
WHERE NOT s.numbered AND (s.project, s.day, s.id) > ($1, $2, $3)
ORDER BY s.project, s.day, s.id LIMIT 64;

-- name: numberless_take :many
-- lane: tx
-- params: project int4, day date[], id int8[], from_day date, to_day date
-- columns: day date, id int8, kind text, n int4
-- unbounded: the caller's list is bounded
-- Keeps merges and erasures off them until the transaction ends; what one of those has taken
-- is not there. The range of days is for the planner.
SELECT s.day, s.id, s.kind, s.n FROM pugd.segment s
WHERE s.project = $1 AND s.day BETWEEN $4 AND $5 AND NOT s.numbered
  AND (s.day, s.id) IN (SELECT u.day, u.id FROM unnest($2, $3) u (day, id))
ORDER BY s.day, s.id FOR UPDATE SKIP LOCKED;

-- name: numberless_columns :many
-- lane: tx
-- params: project int4, segment int8
-- columns: part int4, raw int4, crc int4, data bytea
-- unbounded: two
-- Kinds (part 3) and distinct_ids (part 4); a third, numbers (part 9), should not be there.
SELECT part::int4, raw, crc, data FROM pugd.segment_column
WHERE project = $1 AND segment = $2 AND part IN (3, 4, 9) ORDER BY part;

-- name: numberless_put :exec
-- lane: tx
-- params: project int4, day date[], id int8[], bytes int8[], of int8[], kinds text[], from_day date, to_day date
-- They have a part more, of so many bytes; kinds as in segment_put.
UPDATE pugd.segment s
SET numbered = true, columns = s.columns + 1, bytes = s.bytes + u.bytes, kinds = k.kinds
FROM unnest($2, $3, $4) u (day, id, bytes)
LEFT JOIN (
  SELECT l.id, array_agg(l.kind ORDER BY l.kind COLLATE "C") AS kinds
  FROM unnest($5, $6) l (id, kind) GROUP BY l.id
) k ON k.id = u.id
WHERE s.project = $1 AND s.day BETWEEN $7 AND $8 AND s.day = u.day AND s.id = u.id;
