-- The server's own housekeeping: migrations, the key feed, cleaning up.

-- name: migrations_lock :exec
-- volatile: takes a lock until the end of the transaction
-- lane: tx
-- One migrating process at a time; the number is arbitrary but fixed for ever.
SELECT pg_catalog.pg_advisory_xact_lock(7203105534177245);

-- name: migrations_schema :exec
-- Statement one of an empty database; the tables of 001 live in it.
CREATE SCHEMA IF NOT EXISTS pugd;

-- name: migrations_table :exec
CREATE TABLE IF NOT EXISTS pugd.migrations (
  number     int PRIMARY KEY,
  name       text NOT NULL,
  sha256     text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: migrations_exist :one
-- columns: found bool
-- Whether the table is there; asking costs no lock. One row.
SELECT pg_catalog.to_regclass('pugd.migrations') IS NOT NULL;

-- name: migrations_list :many
-- columns: number int4, name text, sha256 text
-- A few dozen rows in the life of the project.
SELECT number, name, sha256 FROM pugd.migrations ORDER BY number LIMIT 1000;

-- name: migrations_done :exec
-- params: number int4, name text, sha256 text
INSERT INTO pugd.migrations (number, name, sha256) VALUES ($1, $2, $3);

-- name: key_epoch :one
-- columns: epoch int8
-- Every 250 ms by every keeper: one row by primary key.
SELECT epoch FROM pugd.key_epoch WHERE id = 1;

-- name: sessions_expire :exec
-- params: batch int4
-- Refresh tokens past their end, by refresh_tokens_expires_idx. SKIP LOCKED: a
-- refresh that holds one goes first, and keepers do not wait for each other.
DELETE FROM pugd.refresh_tokens WHERE hash IN (
  SELECT hash FROM pugd.refresh_tokens WHERE expires_at < now()
  ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED);

-- name: sessions_empty :exec
-- params: batch int4
-- Sessions whose last token is gone. A session is made in one statement with its
-- first token, so one without tokens is over; a day of slack all the same.
DELETE FROM pugd.sessions WHERE id IN (
  SELECT s.id FROM pugd.sessions s
  WHERE s.create_time < now() - interval '1 day'
    AND NOT EXISTS (SELECT 1 FROM pugd.refresh_tokens t WHERE t.session_id = s.id)
  LIMIT $1 FOR UPDATE SKIP LOCKED);

-- name: action_tokens_expire :exec
-- params: batch int4
-- Mailed links a week after their end: until then a click can be explained.
DELETE FROM pugd.action_tokens WHERE hash IN (
  SELECT hash FROM pugd.action_tokens WHERE expires_at < now() - interval '7 days'
  ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED);
