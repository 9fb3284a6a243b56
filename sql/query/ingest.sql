-- Event writes: worker/ingest/ingest.c sends one events_store per group commit, after events_known
-- when ids of the group may be known, and events_claim for a group that holds more than new events
-- of live projects all the same.

-- name: events_known :one
-- lane: ingest
-- params: project int4[], id uuid[], day date[], past int4[], b_project int4[], b_day date[]
-- columns: known int4[]
-- Positions (from 1) of the ids that were stored before. They come day by day: up to `past` those
-- of each day. `b_day` is the first day of each project.
SELECT pugd.events_known($1, $2, $3, $4, $5, $6);

-- name: events_store :one
-- lane: ingest
-- volatile: stores events
-- params: project int4[], day date[], id uuid[], b_project int4[], b_n int4[], b_tmin int8[], b_tmax int8[], b_data bytea[]
-- columns: stored bool
-- All or nothing; false: something of it is not new, or not to be stored.
SELECT pugd.events_store($1, $2, $3, $4, $5, $6, $7, $8);

-- name: events_claim :many
-- lane: ingest
-- volatile: stores events
-- params: project int4[], day date[], id uuid[], batch int4[], pos int4[], suspects int4[], b_project int4[], b_n int4[], b_tmin int8[], b_tmax int8[], b_data bytea[]
-- columns: batch int4, live bool, refused int4[]?, expired int4[]?
-- unbounded: one row a batch
-- Claims ids and stores batches, in one statement: no lock outlives a round trip. `batch`
-- is the number of a b_ row, from 1; `suspects` a hint at which ids may be known (their
-- numbers, from 1), and all may when it is empty. What was claimed before, and what is older than the project's
-- retention, comes back as positions.
SELECT no, live, refused, expired FROM pugd.events_claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

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
