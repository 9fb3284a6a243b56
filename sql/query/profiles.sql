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
