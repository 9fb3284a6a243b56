-- Event writes: worker/ingest/ingest.c sends one events_store per group commit, and
-- events_claim for a group that holds more than new events of live projects.

-- name: events_store :one
-- lane: ingest
-- volatile: stores events
-- params: project int4[], day date[], id uuid[], b_project int4[], b_n int4[], b_tmin int8[], b_tmax int8[], b_data bytea[]
-- columns: stored bool
-- All or nothing; false: something of it is not new, or not to be stored.
SELECT pugd.events_store($1, $2, $3, $4, $5, $6, $7, $8);

-- name: events_claim :many
-- lane: ingest
-- params: project int4[], day date[], id uuid[], batch int4[], pos int4[], b_project int4[], b_n int4[], b_tmin int8[], b_tmax int8[], b_data bytea[]
-- columns: batch int4, live bool, refused int4[]?, expired int4[]?
-- unbounded: one row a batch
-- Claims ids and stores batches, in one statement: no lock outlives a round trip.
-- Ids are inserted in one order by everybody, so claims cannot deadlock. `batch` is
-- the number of a b_ row, from 1. Batches of dead projects are left out (D91); what
-- was claimed before comes back as positions, and the blob hides them. Positions
-- are looked for only when something was refused, and by grouping, because a
-- generic plan would join a thousand ids by nested loops. Events before the project's
-- retention (D20) claim nothing; they are hidden like refused ones, and told apart.
WITH b AS (
  SELECT * FROM unnest($6, $7, $8, $9, $10)
    WITH ORDINALITY AS b (project, n, tmin, tmax, data, no)
), live AS MATERIALIZED (
  SELECT array_agg(p.num IS NOT NULL ORDER BY b.no) AS ok,
         array_agg((now() AT TIME ZONE 'UTC')::date - p.retention_days ORDER BY b.no) AS floor,
         count(p.retention_days) > 0 AS any_floor
  FROM b LEFT JOIN pugd.projects p ON p.num = b.project AND p.deleted_at IS NULL
), ev AS MATERIALIZED (
  SELECT * FROM unnest($1, $2, $3, $4, $5) AS e (project, day, id, batch, pos)
  WHERE (SELECT ok FROM live)[e.batch]
    AND coalesce(e.day >= (SELECT floor FROM live)[e.batch], true)
), old AS (
  SELECT e.batch, array_agg(e.pos ORDER BY e.pos) AS pos, count(*)::int AS n
  FROM unnest($2, $4, $5) AS e (day, batch, pos)
  WHERE (SELECT any_floor FROM live) AND e.day < (SELECT floor FROM live)[e.batch]
  GROUP BY e.batch
), claimed AS (
  INSERT INTO pugd.event_seen (project, day, event_id)
  SELECT project, day, id FROM ev ORDER BY project, day, id
  ON CONFLICT DO NOTHING
  RETURNING project, day, event_id
), refused AS (
  SELECT x.batch, array_agg(x.pos ORDER BY x.pos) AS pos, count(*)::int AS n
  FROM (
    SELECT max(u.batch) AS batch, max(u.pos) AS pos
    FROM (SELECT project, day, id, batch, pos FROM ev
          UNION ALL SELECT project, day, event_id, NULL, NULL FROM claimed) u
    WHERE (SELECT count(*) FROM claimed) < (SELECT count(*) FROM ev)
    GROUP BY u.project, u.day, u.id HAVING count(*) = 1
  ) x GROUP BY x.batch
), stored AS (
  INSERT INTO pugd.inbox (project, n, stored, tmin, tmax, receive_day, refused, data)
  SELECT b.project, b.n, b.n - coalesce(r.n, 0) - coalesce(o.n, 0), b.tmin, b.tmax,
         (now() AT TIME ZONE 'UTC')::date,
         CASE WHEN o.n > 0 THEN coalesce(r.pos, '{}') || o.pos ELSE r.pos END, b.data
  FROM b LEFT JOIN refused r ON r.batch = b.no LEFT JOIN old o ON o.batch = b.no
  WHERE (SELECT ok FROM live)[b.no] AND b.n > coalesce(r.n, 0) + coalesce(o.n, 0)
)
SELECT b.no::int4, (SELECT ok FROM live)[b.no], r.pos, o.pos
FROM b LEFT JOIN refused r ON r.batch = b.no LEFT JOIN old o ON o.batch = b.no;

-- name: events_days :one
-- lane: ingest
-- volatile: makes tables
-- params: days date[]
-- columns: made int4
-- Partitions for days that a claim found missing.
SELECT pugd.event_seen_ensure($1);

-- name: events_partitions :one
-- lane: tx
-- volatile: makes tables
-- params: first date, last date
-- columns: made int4
-- The keeper's: days around now, made ahead of the events.
SELECT pugd.events_partitions_ensure($1, $2);
