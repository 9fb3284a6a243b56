-- What the scan threads read (worker/store/reader.c): streamed row by row on a
-- connection of their own, inside one snapshot.

-- name: wal_position :one
-- lane: ingest
-- columns: position text
-- Everything acknowledged so far lies before it. Asked before a scan on another
-- server than the one that events are written to (D21).
SELECT pg_catalog.pg_current_wal_insert_lsn()::text;

-- name: wal_reached :one
-- lane: slow
-- params: position text
-- columns: reached bool
-- Whether the analytics server has replayed that far; a primary always has.
SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
  THEN coalesce(pg_catalog.pg_last_wal_replay_lsn() >= $1::pg_lsn, false) ELSE true END;

-- name: explain_segments :one
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8, from_day date, to_day date, kinds text[]?
-- columns: segments int8, by_time int8, by_retention int8, by_kind int8, inbox int8, inbox_by_time int8, inbox_by_retention int8
-- What the statements below leave out, each thing for the first reason that applies; for
-- pugd explain, which holds the sum against what was really read.
WITH f AS (SELECT coalesce(pugd.retention_floor($1), -9223372036854775808) AS floor),
s AS (SELECT day BETWEEN $4 AND $5 AND tmin < $3 AND tmax >= $2 AS timely, tmax >= f.floor AS kept,
             $6 IS NULL OR kind = ANY ($6) OR kind = '' AND (kinds IS NULL OR kinds && $6) AS wanted
      FROM pugd.segment, f WHERE project = $1),
i AS (SELECT tmin < $3 AND tmax >= $2 AS timely, tmax >= f.floor AS kept FROM pugd.inbox, f WHERE project = $1)
SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM s WHERE NOT timely),
       (SELECT count(*) FROM s WHERE timely AND NOT kept),
       (SELECT count(*) FROM s WHERE timely AND kept AND NOT wanted),
       (SELECT count(*) FROM i), (SELECT count(*) FROM i WHERE NOT timely),
       (SELECT count(*) FROM i WHERE timely AND NOT kept);

-- name: scan_inbox :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8
-- columns: id int8, n int4, floor_ms int8?, refused int4[]?, data bytea
-- unbounded: streamed; bounded by time and memory of the query
-- Level 0 of a window, by the project's part of the primary key. floor_ms: a retention
-- that hides some of these events.
SELECT id, n,
       CASE WHEN tmin < (SELECT pugd.retention_floor($1)) THEN (SELECT pugd.retention_floor($1)) END,
       refused, data
FROM pugd.inbox
WHERE project = $1 AND tmin < $3
  AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)));

-- name: scan_segments :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8, from_day date, to_day date, kinds text[]?, part int4[], scope int4[], key text[]
-- params: numbers bool, flat bool, edges int8[]
-- columns: id int8, place int8, floor_ms int8?, n int4, kind text, tmin int8, flat bool, columns int4
-- columns: no int4?, raw int4?, crc int4?, data bytea?
-- unbounded: streamed; bounded by time and memory of the query
-- Level 1 of a window, day by day, with the columns that are wanted only: a row a column, those
-- of a segment together; a segment without any has one row. `no` is the place of the column in
-- the lists. What is sorted are the segments, never their bytes, and these are not copied into
-- an aggregate. A segment of kind '' holds several, those of `kinds` if that is known.
-- What the segment's row says already is left out: part 3 where it has one kind; with `flat`
-- part 2 where all of it lies in the window and between two edges; with `numbers` part 4
-- where there is part 9 (worker/store/evseg.h).
SELECT s.id, s.place, CASE WHEN s.tmin < s.floor THEN s.floor END,
       s.n, s.kind, s.tmin, s.flat, s.columns, c.*
FROM (
  SELECT id, place, tmin, n, kind, columns, day, numbered, f.floor,
         $11 AND tmin >= $2 AND tmax < $3 AND (tmin < f.floor) IS NOT TRUE
         AND width_bucket(tmin, $12) = width_bucket(tmax, $12) AS flat
  FROM pugd.segment, (SELECT pugd.retention_floor($1) OFFSET 0) f (floor)
  WHERE project = $1 AND day BETWEEN $4 AND $5 AND tmin < $3
    AND tmax >= greatest($2, f.floor)
    AND ($6 IS NULL OR kind = ANY ($6) OR kind = '' AND (kinds IS NULL OR kinds && $6))
  ORDER BY day OFFSET 0
) s LEFT JOIN LATERAL (
  SELECT w.no::int4, c.raw, c.crc, c.data
  FROM unnest($7, $8, $9) WITH ORDINALITY w (part, scope, key, no)
  JOIN pugd.segment_column c ON c.project = $1 AND c.segment = s.id
   AND c.part = w.part::int2 AND c.scope = w.scope::int2 AND c.key = w.key
  WHERE CASE w.part WHEN 2 THEN NOT s.flat WHEN 3 THEN s.kind = ''
                    WHEN 4 THEN NOT ($10 AND s.numbered) ELSE true END
  OFFSET 0
) c ON true;

-- name: scan_heads :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8, from_day date, to_day date, kinds text[]?, flat bool, edges int8[], most int8
-- columns: id int8, place int8, floor_ms int8?, n int4, kind text, tmin int8, flat bool, columns int4, numbered bool
-- columns: tmax int8, bytes int8, sealed_at timestamptz, home int8
-- unbounded: as many as the caller says
-- The same segments without their columns, for whoever may have these in memory. What is there
-- must be of this segment: of this row of this server since its start, for a restore or
-- another database may give the same id to others.
SELECT id, place, CASE WHEN tmin < f.floor THEN f.floor END, n, kind, tmin,
       $7 AND tmin >= $2 AND tmax < $3 AND (tmin < f.floor) IS NOT TRUE
       AND width_bucket(tmin, $8) = width_bucket(tmax, $8),
       columns, numbered, tmax, bytes, sealed_at, f.home
FROM pugd.segment, (
  SELECT pugd.retention_floor($1), hashtextextended(concat_ws(' ',
           extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
           (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
           'pugd.segment_column'::regclass::oid), 0)
  OFFSET 0) f (floor, home)
WHERE project = $1 AND day BETWEEN $4 AND $5 AND tmin < $3
  AND tmax >= greatest($2, f.floor)
  AND ($6 IS NULL OR kind = ANY ($6) OR kind = '' AND (kinds IS NULL OR kinds && $6))
ORDER BY day, id LIMIT $9;

-- name: scan_columns :many
-- lane: slow
-- params: project int4, segment int8[], no int4[], part int4[], scope int4[], key text[]
-- columns: at int4, raw int4, crc int4, data bytea
-- unbounded: streamed; as many as the caller names
-- Columns of these segments, in the order of the list, each by its place in the lists of parts,
-- scopes and keys. One that a segment does not have has no row. at: its place in the list.
SELECT u.at::int4, c.raw, c.crc, c.data
FROM unnest($2, $3) WITH ORDINALITY u (segment, no, at)
CROSS JOIN LATERAL (
  SELECT c.raw, c.crc, c.data FROM pugd.segment_column c
  WHERE c.project = $1 AND c.segment = u.segment AND c.part = ($4::int4[])[u.no]::int2
    AND c.scope = ($5::int4[])[u.no]::int2 AND c.key = ($6::text[])[u.no]
  OFFSET 0
) c;

-- name: scan_segments_whole :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8, from_day date, to_day date, kinds text[]?, high int8?
-- columns: id int8, place int8, floor_ms int8?, n int4, columns int4, part int4[]?, scope int4[]?, key text[]?, raw int4[]?, stored int4[]?, crc int4[]?, data bytea?
-- unbounded: streamed; bounded by time and memory of the query
-- The same with all columns. With `high`: only those that scan_names leaves.
SELECT s.id, s.place,
       CASE WHEN s.tmin < (SELECT pugd.retention_floor($1)) THEN (SELECT pugd.retention_floor($1)) END,
       s.n, s.columns, c.*
FROM (
  SELECT id, place, tmin, n, columns, day FROM pugd.segment
  WHERE project = $1 AND day BETWEEN $4 AND $5 AND tmin < $3
    AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)))
    AND ($6 IS NULL OR kind = ANY ($6) OR kind = '' AND (kinds IS NULL OR kinds && $6))
    AND ($7 IS NULL OR names IS NULL OR place < $7 OR tmin < (SELECT pugd.retention_floor($1)))
  ORDER BY day OFFSET 0
) s CROSS JOIN LATERAL (
  SELECT array_agg(c.part::int4), array_agg(c.scope::int4), array_agg(c.key), array_agg(c.raw),
         array_agg(octet_length(c.data)), array_agg(c.crc), string_agg(c.data, ''::bytea)
  FROM pugd.segment_column c WHERE c.project = $1 AND c.segment = s.id
) c
ORDER BY s.day;

-- name: scan_names :many
-- lane: slow
-- params: project int4, high int8
-- columns: names bytea
-- unbounded: streamed; bounded by time and memory of the query
-- What is known of the segments of which nothing is hidden: neither by a deletion, whose
-- greatest `high` that is, nor by a retention.
SELECT coalesce(s.names, '') FROM pugd.segment s
WHERE s.project = $1 AND s.names IS NOT NULL AND s.place >= $2
  AND (s.tmin < (SELECT pugd.retention_floor($1))) IS NOT TRUE;

-- name: scan_segments_of :many
-- lane: slow
-- params: project int4, day date[], id int8[]
-- columns: id int8, n int4, columns int4, part int4[]?, scope int4[]?, key text[]?, raw int4[]?, stored int4[]?, crc int4[]?, data bytea?
-- unbounded: streamed; as many as the caller names
-- These segments with all columns.
SELECT s.id, s.n, s.columns, c.*
FROM unnest($2, $3) u (day, id)
JOIN pugd.segment s ON s.project = $1 AND s.day = u.day AND s.id = u.id
CROSS JOIN LATERAL (
  SELECT array_agg(c.part::int4), array_agg(c.scope::int4), array_agg(c.key), array_agg(c.raw),
         array_agg(octet_length(c.data)), array_agg(c.crc), string_agg(c.data, ''::bytea)
  FROM pugd.segment_column c WHERE c.project = $1 AND c.segment = s.id
) c;

-- name: scan_newest :many
-- lane: slow
-- params: project int4, from_ms int8, to_ms int8, from_day date, to_day date, kinds text[]?, whole bool, part int4[], scope int4[], key text[]
-- columns: id int8, place int8, n int4, tmax int8, floor_ms int8?, refused int4[]?, blob bytea?, columns int4?, part int4[]?, scope int4[]?, key text[]?, raw int4[]?, stored int4[]?, crc int4[]?, data bytea?
-- unbounded: streamed; the reader stops when older ones cannot matter
-- Both levels, those with the latest events first: `blob` is level 0; of level 1 the columns
-- that are wanted, or all. What is sorted are keys; OFFSET 0 makes the rest a look-up per
-- row, when the row is asked for.
SELECT k.id, k.place, k.n, k.tmax,
       CASE WHEN k.tmin < (SELECT pugd.retention_floor($1)) THEN (SELECT pugd.retention_floor($1)) END,
       i.refused, i.data, k.columns, c.*
FROM (
  SELECT id, id AS place, n, tmin, tmax, NULL::int4 AS columns FROM pugd.inbox
  WHERE project = $1 AND tmin < $3 AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)))
  UNION ALL
  SELECT id, place, n, tmin, tmax, columns FROM pugd.segment
  WHERE project = $1 AND day BETWEEN $4 AND $5 AND tmin < $3
    AND tmax >= greatest($2, (SELECT pugd.retention_floor($1)))
    AND ($6 IS NULL OR kind = ANY ($6) OR kind = '' AND (kinds IS NULL OR kinds && $6))
  ORDER BY tmax DESC
) k
LEFT JOIN LATERAL (
  SELECT b.refused, b.data FROM pugd.inbox b
  WHERE k.columns IS NULL AND b.project = $1 AND b.id = k.id OFFSET 0
) i ON true
LEFT JOIN LATERAL (
  SELECT array_agg(x.part::int4), array_agg(x.scope::int4), array_agg(x.key), array_agg(x.raw),
         array_agg(octet_length(x.data)), array_agg(x.crc), string_agg(x.data, ''::bytea)
  FROM (
    SELECT c.* FROM unnest($8, $9, $10) w (part, scope, key)
    JOIN pugd.segment_column c ON c.project = $1 AND c.segment = k.id
     AND c.part = w.part::int2 AND c.scope = w.scope::int2 AND c.key = w.key
    WHERE NOT $7 AND k.columns IS NOT NULL
    UNION ALL
    SELECT c.* FROM pugd.segment_column c
    WHERE $7 AND k.columns IS NOT NULL AND c.project = $1 AND c.segment = k.id
  ) x
) c ON true
ORDER BY k.tmax DESC;

-- name: scan_profiles :many
-- lane: slow
-- params: project int4
-- columns: id text, external_id text, create_time timestamptz
-- unbounded: streamed; one row a live profile
SELECT id, external_id, create_time FROM pugd.profiles WHERE project = $1 AND deleted_at IS NULL;

-- name: scan_aliases :many
-- lane: slow
-- params: project int4
-- columns: alias_id text, profile_id text
-- unbounded: streamed; one row an alias
-- Who wins where ids clash is decided by worker/store/people.c (D60), without a join.
SELECT alias_id, profile_id FROM pugd.aliases WHERE project = $1;

-- name: scan_traits :many
-- lane: slow
-- params: project int4, paths text[]
-- columns: person text, path int4, kind text, value text?
-- unbounded: streamed; one row a live profile and path
-- The traits that profile filters name. Keys may hold dots themselves, and dots descend into
-- objects (never into lists): first the key as it stands, then with every dot descending, then
-- any other way, longer keys first. That last one is rare and slow, and bounded by the keys of
-- the profile; it is left out where not even a first key of it is there.
WITH paths AS (
  SELECT t.path, t.no, s.steps, cardinality(s.steps) > 1 AS nested,
    t.path ~ '(^|[.])-?[0-9]+([.]|$)' AS numbers, -- which would be places in a list
    ARRAY(SELECT array_to_string(s.steps[:n], '.')
          FROM generate_series(1, cardinality(s.steps) - 1) n) AS heads
  FROM unnest($2::text[]) WITH ORDINALITY AS t (path, no)
  CROSS JOIN LATERAL (SELECT string_to_array(t.path, '.') AS steps) s
)
SELECT p.id, (t.no - 1)::int4, jsonb_typeof(v.j), v.j #>> '{}'
FROM pugd.profiles p
CROSS JOIN paths t
CROSS JOIN LATERAL (
  SELECT CASE
    WHEN p.properties ? t.path THEN p.properties -> t.path
    WHEN NOT t.nested OR NOT p.properties ?| t.heads THEN NULL
    WHEN NOT t.numbers AND p.properties #> t.steps IS NOT NULL THEN p.properties #> t.steps
    ELSE (
      WITH RECURSIVE way (j, rest, taken) AS (
        SELECT p.properties, t.steps, '{}'::int[]
        UNION ALL
        SELECT w.j -> array_to_string(w.rest[:n], '.'), w.rest[n + 1:], w.taken || n
        FROM way w CROSS JOIN generate_series(1, cardinality(w.rest)) n
        WHERE jsonb_typeof(w.j) = 'object' AND w.j ? array_to_string(w.rest[:n], '.')
      )
      SELECT w.j FROM way w WHERE w.rest = '{}'
      ORDER BY cardinality(w.taken) = cardinality(t.steps) DESC, w.taken DESC LIMIT 1)
    END AS j
) v
WHERE p.project = $1 AND p.deleted_at IS NULL AND v.j IS NOT NULL;

-- name: scan_properties :many
-- lane: slow
-- params: project int4
-- columns: properties json, update_time timestamptz
-- unbounded: streamed; one row a live profile
-- Which traits exist (worker/insights/schema_traits.c).
SELECT properties::json, update_time FROM pugd.profiles
WHERE project = $1 AND deleted_at IS NULL;

-- name: scan_texts :many
-- lane: slow
-- params: project int4, ids int8[], events int4[]
-- columns: id int8, n int4, raw int4, crc int4, data bytea
-- unbounded: streamed; as many as the caller names
-- The distinct_ids of these segments, which have so many events.
SELECT u.id, u.n, c.*
FROM unnest($2, $3) u (id, n)
CROSS JOIN LATERAL (
  SELECT x.raw, x.crc, x.data FROM pugd.segment_column x
  WHERE x.project = $1 AND x.segment = u.id AND x.part = 4 AND x.scope = 0 AND x.key = ''
  OFFSET 0
) c;

-- name: scan_profiles_of :many
-- lane: slow
-- params: project int4, ids text[]
-- columns: no int4, id text
-- unbounded: streamed; as many as the caller names
-- The live profiles of those ids that resolve to one (D60); no counts from 0.
SELECT x.no, x.id FROM (
  SELECT (u.no - 1)::int4 AS no, pugd.identity_of($1, u.id, false) AS id
  FROM unnest($2) WITH ORDINALITY u (id, no)
) x WHERE x.id IS NOT NULL;

-- name: scan_profile_names :many
-- lane: slow
-- params: project int4, after text, bound text?
-- columns: id text, name text
-- unbounded: streamed; one row a live profile of the range
-- What SegmentUsers calls profiles, those of a part of the order by bytes.
SELECT x.id, x.name FROM (
  SELECT p.id::text AS id, CASE p.external_id WHEN '' THEN p.id::text ELSE p.external_id END AS name
  FROM pugd.profiles p WHERE p.project = $1 AND p.deleted_at IS NULL
) x WHERE x.name COLLATE "C" > $2 AND ($3 IS NULL OR x.name COLLATE "C" < $3);
