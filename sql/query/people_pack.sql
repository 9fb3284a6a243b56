-- Who is who as digests (schema in 012_people_pack.sql): what queries read of it
-- (worker/store/people_pack.c), and how the keeper makes the copy (worker/store/packer.c).
-- A page is one row, NULL: there is nothing more; ids of a column one after another, those of
-- profiles of 20 bytes each (pugd.xid), of others `n` says the bytes of each. That costs half
-- of arrays of text, which cost half of rows.

-- name: people_now :many
-- lane: slow
-- params: project int4, seed int8
-- columns: digest_key bytea, upto int8?, profiles int8, aliases int8, changes int8, hash int8, first int4[], n int4[], version int8[], server text, snapshot int8
-- unbounded: one row, streamed like the rest
-- What the snapshot sees, described so that equal descriptions mean equal people and numbers
-- (worker/store/people_cache.h). No upto: there is no copy, or none that is worth anything.
--
-- Each change has a number that no other has, and what a row says does not change without a
-- new one: so the set of the numbers since the copy tells whether anything has changed. Its
-- hash has a seed that nobody knows. A block of numbers that is written anew has another xmin,
-- whether it grew or lost somebody who was erased. After a crash, a failover or a restore
-- numbers and transactions might come a second time: `server` is another one then (statistics
-- are reset by a crash). The upper bound of `changed` is what lets the planner guess few.
SELECT p.digest_key, u.upto, coalesce(s.profiles, 0), coalesce(s.aliases, 0), c.n, c.hash,
       b.first, b.n, b.version,
       concat_ws(' ', current_database(), extract(epoch FROM pg_postmaster_start_time()),
                 extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())),
       pg_snapshot_xmax(pg_current_snapshot())::text::int8
FROM pugd.projects p
LEFT JOIN pugd.people_state s ON s.project = p.num
CROSS JOIN LATERAL (
  SELECT CASE WHEN NOT EXISTS (
    SELECT FROM pugd.people_gone g
    WHERE g.project = $1 AND g.changed > s.upto AND g.profile IS NULL) THEN s.upto END
  OFFSET 0
) u (upto)
CROSS JOIN LATERAL (
  SELECT count(*), coalesce(bit_xor(hashint8extended(x.changed, $2)), 0) FROM (
    SELECT o.changed FROM pugd.profiles o WHERE o.project = $1 AND o.changed > 0
      AND o.changed > u.upto AND o.changed < 9223372036854775807
    UNION ALL
    SELECT a.changed FROM pugd.aliases a WHERE a.project = $1 AND a.changed > 0
      AND a.changed > u.upto AND a.changed < 9223372036854775807
    UNION ALL
    SELECT g.changed FROM pugd.people_gone g WHERE g.project = $1
      AND g.changed > u.upto AND g.changed < 9223372036854775807
  ) x
) c (n, hash)
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(x.first), '{}'), coalesce(array_agg(x.n), '{}'),
         coalesce(array_agg(x.xmin::text::int8), '{}')
  FROM (SELECT o.first, o.n, o.xmin FROM pugd.number_block o WHERE o.project = $1
        ORDER BY o.first) x
) b (first, n, version)
WHERE p.num = $1;

-- name: people_numbers :many
-- lane: slow
-- params: project int4, blocks int4[]
-- columns: first int4, n int4, digests bytea
-- unbounded: streamed; a row for some thousand ids
-- What sealed events call the project's distinct ids (worker/store/numbers.h), in these blocks.
SELECT b.first, b.n, b.digests FROM pugd.number_block b
WHERE b.project = $1 AND b.first = ANY ($2) ORDER BY b.first;

-- name: people_profiles :many
-- lane: slow
-- params: project int4, after text, batch int4
-- columns: profile text?, other text?, n int4[]?
-- unbounded: one row
-- Live profiles after an id, by primary key, and their external_ids.
SELECT string_agg(x.id, ''), string_agg(x.external_id, ''), array_agg(octet_length(x.external_id)) FROM (
  SELECT p.id::text, p.external_id FROM pugd.profiles p
  WHERE p.project = $1 AND p.id > $2 AND p.deleted_at IS NULL
  ORDER BY p.id LIMIT $3
) x;

-- name: people_aliases :many
-- lane: slow
-- params: project int4, after text, batch int4
-- columns: profile text?, other text?, n int4[]?
-- unbounded: one row
SELECT string_agg(x.profile_id, ''), string_agg(x.alias_id, ''), array_agg(octet_length(x.alias_id)) FROM (
  SELECT a.alias_id, a.profile_id::text FROM pugd.aliases a
  WHERE a.project = $1 AND a.alias_id > $2
  ORDER BY a.alias_id LIMIT $3
) x;

-- name: people_profile_changes :many
-- lane: slow
-- params: project int4, after int8, batch int4
-- columns: profile text?, other text?, n int4[]?, last int8?
-- unbounded: one row
-- By profiles_changed_idx. n is -1: it is not live, or there no more.
SELECT string_agg(x.id, ''), string_agg(x.other, ''), array_agg(x.n), max(x.changed) FROM (
  SELECT p.id::text, CASE WHEN p.deleted_at IS NULL THEN p.external_id ELSE '' END AS other,
         CASE WHEN p.deleted_at IS NULL THEN octet_length(p.external_id) ELSE -1 END AS n, p.changed
  FROM pugd.profiles p
  WHERE p.project = $1 AND p.changed > 0 AND p.changed > $2
  UNION ALL
  SELECT g.profile::text, '', -1, g.changed FROM pugd.people_gone g
  WHERE g.project = $1 AND g.changed > $2 AND g.profile IS NOT NULL
  ORDER BY changed LIMIT $3
) x;

-- name: people_alias_changes :many
-- lane: slow
-- params: project int4, after int8, batch int4
-- columns: profile text?, other text?, n int4[]?, last int8?
-- unbounded: one row
SELECT string_agg(x.profile_id, ''), string_agg(x.alias_id, ''), array_agg(octet_length(x.alias_id)),
       max(x.changed)
FROM (
  SELECT a.alias_id, a.profile_id::text, a.changed FROM pugd.aliases a
  WHERE a.project = $1 AND a.changed > 0 AND a.changed > $2
  ORDER BY a.changed LIMIT $3
) x;

-- name: people_packed :many
-- lane: slow
-- params: project int4, alias bool
-- columns: n int4, data bytea
-- unbounded: streamed; 16 bytes a profile or an alias
SELECT n, data FROM pugd.people_pack WHERE project = $1 AND alias = $2 ORDER BY no;

-- name: people_last :one
-- columns: last int8
-- Moves with every change of any project.
SELECT last_value FROM pugd.people_change;

-- name: people_due :many
-- lane: slow
-- params: since int8
-- columns: project int4
-- Projects whose copy is to be made (anew), among those with a change after `since`; -1: among
-- all. That is: more than 1000 people, or changes, which must be a fortieth as well
-- where the copy is large, though never more than 100000: about as many cost a query as much
-- as the copy itself.
SELECT p.num FROM pugd.projects p
LEFT JOIN pugd.people_state s ON s.project = p.num
WHERE p.deleted_at IS NULL
  AND ($1 < 0 OR greatest(
    (SELECT max(o.changed) FROM pugd.profiles o WHERE o.project = p.num AND o.changed > 0),
    (SELECT max(a.changed) FROM pugd.aliases a WHERE a.project = p.num AND a.changed > 0)) > $1)
  AND CASE WHEN s.upto IS NULL THEN pugd.people_count(p.num, 1001) > 1000
      ELSE (SELECT pugd.people_behind(p.num, s.upto, x.most + 1) > x.most FROM (
        SELECT greatest(1000, least(100000, (s.profiles + s.aliases) / 40)) AS most) x) END
ORDER BY p.num
LIMIT 256;

-- name: people_erased :many
-- lane: slow
-- columns: project int4
-- Projects whose copy may still have digests of somebody who was erased a while ago: a second
-- for 1000 entries, an hour at most, so that many erasures do not make as many copies; one that
-- is worth nothing at once. By people_gone_erased_idx, which is small.
SELECT g.project FROM pugd.people_gone g
JOIN pugd.people_state s ON s.project = g.project
JOIN pugd.projects p ON p.num = g.project AND p.deleted_at IS NULL
WHERE g.erased
GROUP BY g.project, s.profiles, s.aliases
HAVING min(g.gone_at) <= now() - least(3600, (s.profiles + s.aliases) / 1000) * interval '1 s'
ORDER BY g.project
LIMIT 256;

-- name: people_projects :many
-- lane: slow
-- columns: project int4
-- unbounded: one row a live project whose copy lacks something, or that has enough people
SELECT p.num FROM pugd.projects p LEFT JOIN pugd.people_state s ON s.project = p.num
WHERE p.deleted_at IS NULL
  AND CASE WHEN s.upto IS NULL THEN pugd.people_count(p.num, 1001) > 1000
      ELSE pugd.people_behind(p.num, s.upto, 1) > 0 END
ORDER BY p.num;

-- name: people_fence :one
-- lane: tx
-- volatile: waits, and draws a number
-- params: project int4
-- columns: upto int8?
SELECT pugd.people_fence($1);

-- name: people_pack_begin :one
-- lane: tx
-- params: project int4
-- columns: upto int8?
-- One keeper at a time; none: another is at it, or the project is being purged.
SELECT s.upto FROM pugd.people_state s
JOIN pugd.projects p ON p.num = s.project AND p.deleted_at IS NULL
WHERE s.project = $1 FOR UPDATE OF s SKIP LOCKED;

-- name: people_pack_clear :exec
-- lane: tx
-- params: project int4
DELETE FROM pugd.people_pack WHERE project = $1;

-- name: people_pack_put :exec
-- lane: tx
-- params: project int4, alias bool, no int4, n int4, data bytea
INSERT INTO pugd.people_pack (project, alias, no, n, data) VALUES ($1, $2, $3, $4, $5);

-- name: people_pack_end :exec
-- lane: tx
-- params: project int4, upto int8, profiles int8, aliases int8
UPDATE pugd.people_state SET upto = $2, profiles = $3, aliases = $4 WHERE project = $1;

-- name: people_gone_clear :exec
-- lane: tx
-- params: project int4, upto int8
-- What the copy has not got any more.
DELETE FROM pugd.people_gone WHERE project = $1 AND changed <= $2;

-- name: purge_people_state :exec
-- params: project int4
-- As the statements of purge.sql. First of all: then nobody makes a copy any more, and
-- profiles that go leave nothing behind.
DELETE FROM pugd.people_state WHERE project = $1;

-- name: purge_people_pack :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid FROM pugd.people_pack WHERE project = $1
  ORDER BY alias, no LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.people_pack WHERE project = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));

-- name: purge_people_gone :exec
-- params: project int4, batch int4
WITH doomed AS (
  SELECT ctid FROM pugd.people_gone WHERE project = $1
  ORDER BY changed LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pugd.people_gone WHERE project = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM doomed));
