-- Whose events a feed holds.

-- name: activity_person :one
-- params: project int4, distinct_id text
-- columns: ids text[], properties json?
-- Always a row: every id that resolves to whom distinct_id resolves to, and to nobody better
-- (D60); of a stranger only the one that was asked for. properties: of the live profile with
-- exactly that id.
SELECT CASE WHEN p.id IS NULL THEN ARRAY[$2::text] ELSE ARRAY(
    SELECT p.id::text
    UNION SELECT a.alias_id FROM pugd.aliases a
    WHERE a.project = $1 AND a.profile_id = p.id AND NOT EXISTS (
      SELECT FROM pugd.profiles o
      WHERE o.project = $1 AND o.id = a.alias_id AND o.deleted_at IS NULL)
    UNION SELECT p.external_id
    WHERE p.external_id <> '' AND NOT EXISTS (
      SELECT FROM pugd.profiles o
      WHERE o.project = $1 AND o.id = p.external_id AND o.deleted_at IS NULL)
    AND NOT EXISTS (
      SELECT FROM pugd.aliases a
      JOIN pugd.profiles o ON o.project = a.project AND o.id = a.profile_id
      WHERE a.project = $1 AND a.alias_id = p.external_id AND o.deleted_at IS NULL)) END,
  CASE WHEN p.id = $2 THEN p.properties::json END
FROM (VALUES (pugd.identity_of($1, $2, false))) w (id)
LEFT JOIN pugd.profiles p ON p.project = $1 AND p.id = w.id AND p.deleted_at IS NULL;
