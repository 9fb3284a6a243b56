-- Demo data of `pugd dev`: what the ordinary statements do not cover.

-- name: seed_viewer :one
-- params: customer_id text, email text, password_hash text, org_id text
-- columns: id text
-- A second account that may only read, and that DemoSignIn signs in as.
WITH customer AS (
  INSERT INTO pugd.customers (id, email, password_hash, display_name, demo)
  VALUES ($1, $2, $3, 'Demo viewer', true) RETURNING id
)
INSERT INTO pugd.org_members (org_id, customer_id, role)
SELECT $4, customer.id, 3 FROM customer RETURNING customer_id::text;

-- name: seed_project :one
-- params: id text
-- columns: num int4
SELECT num FROM pugd.projects WHERE id = $1 AND deleted_at IS NULL;

-- name: seed_people :exec
-- params: project int4, profile_ids text[], external_ids text[], alias_ids text[], plans text[], countries text[], created timestamptz[]
-- Profiles with one alias each; repeating it changes nothing. The lock comes before the
-- rows draw their `changed` (012_people_pack.sql).
WITH locked AS MATERIALIZED (
  SELECT count(*) FROM pugd.identity_lock($1, false, '{}')
), people AS (
  SELECT p.* FROM locked, unnest($2, $3, $4, $5, $6, $7)
    AS p (id, external_id, alias_id, plan, country, created)
), profile AS (
  INSERT INTO pugd.profiles (project, id, external_id, properties, create_time, update_time)
  SELECT $1, p.id, p.external_id, jsonb_build_object('plan', p.plan, 'country', p.country),
         p.created, p.created
  FROM people p
  ON CONFLICT DO NOTHING
  RETURNING id
)
INSERT INTO pugd.aliases (project, alias_id, profile_id, create_time)
SELECT $1, p.alias_id, p.id, p.created FROM people p JOIN profile USING (id)
ON CONFLICT DO NOTHING;
