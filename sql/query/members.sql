-- Who belongs to an organisation. It keeps at least one admin, also when several go at
-- once: whoever takes a role away locks all member rows first, in one order (`crowd`),
-- and a lock that had to wait reads its row anew; then counts (`tally`) and decides.
-- outcome: 1 done, 2 the caller is no admin any more, 3 no such member, 4 the last
-- admin, 5 the last member.

-- name: member_list :many
-- params: org_id text
-- columns: customer_id text, display_name text, email text, role int4
-- In the order in which they joined. Bounded far above any organisation.
SELECT c.id, c.display_name, c.email, m.role::int4
FROM pugd.org_members m JOIN pugd.customers c ON c.id = m.customer_id
WHERE m.org_id = $1
ORDER BY m.create_time, m.customer_id
LIMIT 100000;

-- name: member_remove :one
-- params: org_id text, caller_id text, customer_id text
-- columns: outcome int4
-- One person removes another. The caller stays and is an admin, so there is no last
-- admin to look after.
WITH crowd AS (
  SELECT customer_id, role FROM pugd.org_members WHERE org_id = $1
  ORDER BY customer_id FOR UPDATE
), tally AS (
  SELECT bool_or(customer_id = $2 AND role = 1) AS may, bool_or(customer_id = $3) AS found
  FROM crowd
), verdict AS (
  SELECT CASE WHEN may IS NOT TRUE THEN 2 WHEN NOT found THEN 3 ELSE 1 END AS outcome FROM tally
), gone AS (
  DELETE FROM pugd.org_members m USING verdict
  WHERE m.org_id = $1 AND m.customer_id = $3 AND verdict.outcome = 1
)
SELECT outcome FROM verdict;

-- name: member_leave :one
-- params: org_id text, customer_id text
-- columns: outcome int4
WITH crowd AS (
  SELECT customer_id, role FROM pugd.org_members WHERE org_id = $1
  ORDER BY customer_id FOR UPDATE
), tally AS (
  SELECT count(*) AS members, count(*) FILTER (WHERE role = 1) AS admins,
         min(role) FILTER (WHERE customer_id = $2) AS own
  FROM crowd
), verdict AS (
  SELECT CASE WHEN own IS NULL THEN 3 WHEN own = 1 AND admins = 1 THEN 4
              WHEN members = 1 THEN 5 ELSE 1 END AS outcome
  FROM tally
), gone AS (
  DELETE FROM pugd.org_members m USING verdict
  WHERE m.org_id = $1 AND m.customer_id = $2 AND verdict.outcome = 1
)
SELECT outcome FROM verdict;

-- name: member_set_role :one
-- params: org_id text, caller_id text, customer_id text, role int4
-- columns: outcome int4, display_name text, email text
-- Names are empty when there is no such member. The same role again is no change, but done.
WITH crowd AS (
  SELECT customer_id, role FROM pugd.org_members WHERE org_id = $1
  ORDER BY customer_id FOR UPDATE
), tally AS (
  SELECT bool_or(customer_id = $2 AND role = 1) AS may,
         count(*) FILTER (WHERE role = 1) AS admins,
         min(role) FILTER (WHERE customer_id = $3) AS old
  FROM crowd
), verdict AS (
  SELECT CASE WHEN may IS NOT TRUE THEN 2 WHEN old IS NULL THEN 3
              WHEN old = 1 AND admins = 1 AND $4 <> 1 THEN 4 ELSE 1 END AS outcome
  FROM tally
), changed AS (
  UPDATE pugd.org_members m SET role = $4 FROM verdict
  WHERE m.org_id = $1 AND m.customer_id = $3 AND verdict.outcome = 1
)
SELECT v.outcome, coalesce(c.display_name, ''), coalesce(c.email, '')
FROM verdict v LEFT JOIN pugd.customers c ON c.id = $3 AND v.outcome = 1;
