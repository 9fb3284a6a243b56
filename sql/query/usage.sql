-- How much an organisation uses (D42).

-- name: usage_get :many
-- lane: tx
-- params: org_id text, from_day date?, to_day date?
-- columns: period_start date, period_end date, computed_at timestamptz, used_events int8, day date?, project_id text?, events int8?
-- The current month's sum, on every row, and the days from from_day to before to_day (NULL:
-- the month), oldest first; one row without a day when there is none. Exact at any moment,
-- because what leaves the inbox is added to usage_days in the same transaction, and this is
-- one snapshot. Deleted projects count. On lane tx: it reads the inbox of all the org's
-- projects, which may take longer than what shares a pipeline should wait. `month` is made
-- once: a plan from when the tables were small would sum it again for every row.
WITH period AS (
  SELECT first, (first + interval '1 month')::date AS next
  FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date AS first) m
), counted AS MATERIALIZED (
  SELECT u.day, p.num, p.id, sum(u.events)::int8 AS events
  FROM period
  JOIN pugd.projects p ON p.org_id = $1
  CROSS JOIN LATERAL (
    SELECT d.day, d.events FROM pugd.usage_days d WHERE d.project = p.num
    UNION ALL
    SELECT i.receive_day, i.stored FROM pugd.inbox i WHERE i.project = p.num
  ) u
  WHERE u.day >= period.first AND u.day < period.next OR u.day >= $2 AND u.day < $3
  GROUP BY u.day, p.num, p.id
), month AS MATERIALIZED (
  SELECT coalesce(sum(c.events), 0)::int8 AS used
  FROM counted c JOIN period ON c.day >= period.first AND c.day < period.next
)
SELECT period.first, period.next, now(), month.used, d.day, d.id::text, d.events
FROM period CROSS JOIN month LEFT JOIN counted d
  ON d.day >= coalesce($2, period.first) AND d.day < coalesce($3, period.next)
ORDER BY d.day, d.num
LIMIT 10000;
