-- Who is who, and what is known of them. Resolution is that of D60; at query time it is
-- worker/store/people.c that does it.

-- name: identify :one
-- lane: tx
-- volatile: changes people
-- params: project int4, new_id text, external_id text, anonymous_id text, traits jsonb, removed text[]
-- columns: profile_id text?, taken bool
-- One statement, one transaction; the order of its locks is in 003_people.sql. No row:
-- the project is gone. taken: the anonymous_id is a live external_id.
SELECT i.profile_id, i.taken FROM pugd.identify($1, $2, $3, $4, $5, $6) i;

-- name: identity_alias :one
-- lane: tx
-- volatile: changes people
-- params: project int4, new_id text, previous_id text, external_id text, whole bool
-- columns: profile_id text?, again bool
-- As identify. again: two profiles are to become one, which takes `whole`.
SELECT i.profile_id, i.again FROM pugd.identity_alias($1, $2, $3, $4, $5) i;

-- name: profile_find :one
-- params: project int4, id text
-- columns: known bool, id text?, external_id text?, properties json?, create_time timestamptz?, update_time timestamptz?, ids text[]?
-- Always a row: the live profile whose id or alias this is, with the ids that resolve to
-- it and no better one (D60). known without a profile: an external_id, which is not asked
-- for here.
SELECT EXISTS (SELECT FROM pugd.profiles e WHERE e.project = $1 AND e.external_id = $2
                 AND e.external_id <> '' AND e.deleted_at IS NULL),
  p.id::text, p.external_id, p.properties::json, p.create_time, p.update_time,
  ARRAY(SELECT i FROM pugd.identity_ids($1, p.id::text) i)
FROM (VALUES (1)) one
LEFT JOIN LATERAL (
  SELECT q.* FROM (
    SELECT x.*, 1 AS rank FROM pugd.profiles x
    WHERE x.project = $1 AND x.id = $2 AND x.deleted_at IS NULL
    UNION ALL
    SELECT x.*, 2 FROM pugd.aliases a
    JOIN pugd.profiles x ON x.project = a.project AND x.id = a.profile_id
    WHERE a.project = $1 AND a.alias_id = $2 AND x.deleted_at IS NULL
  ) q ORDER BY q.rank LIMIT 1
) p ON true;

-- name: profile_of_external_id :one
-- params: project int4, external_id text
-- columns: id text?
-- The live profile with that external_id, else who has absorbed it.
SELECT coalesce(
  (SELECT p.id::text FROM pugd.profiles p WHERE p.project = $1 AND p.external_id = $2
     AND p.external_id <> '' AND p.deleted_at IS NULL),
  (SELECT p.id::text FROM pugd.aliases a
   JOIN pugd.profiles p ON p.project = a.project AND p.id = a.profile_id
   WHERE a.project = $1 AND a.alias_id = $2 AND p.deleted_at IS NULL));

-- name: profiles_by_id :many
-- params: project int4, ids text[], budget int8
-- columns: no int4, id text, external_id text, properties json?, create_time timestamptz, update_time timestamptz
-- unbounded: one row an id, of which the caller sends a page
-- Live profiles in the order asked for; no counts from 0. Beyond `budget` bytes of traits
-- they come without any: then the page ends.
SELECT x.no, x.id, x.external_id, CASE WHEN x.before < $3 THEN x.properties END,
  x.create_time, x.update_time
FROM (
  SELECT (u.no - 1)::int4 AS no, p.id::text, p.external_id, p.properties::json,
    p.create_time, p.update_time,
    sum(octet_length(p.properties::text)) OVER (ORDER BY u.no)
      - octet_length(p.properties::text) AS before
  FROM unnest($2) WITH ORDINALITY u (id, no)
  JOIN pugd.profiles p ON p.project = $1 AND p.id = u.id AND p.deleted_at IS NULL
) x ORDER BY x.no;
