-- Dashboards of projects, their tiles, and the links by which they are shared.

-- time_range and granularity: numbers of common.v1.TimeRangePreset and
-- insights.v1.Granularity, always concrete (0 became the default when it was stored).
CREATE TABLE pugd.dashboards (
  id           pugd.xid PRIMARY KEY,
  project      int NOT NULL REFERENCES pugd.projects ON DELETE CASCADE,
  display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 150),
  description  text NOT NULL DEFAULT '' CHECK (char_length(description) <= 2000),
  time_range   smallint NOT NULL CHECK (time_range > 0),
  granularity  smallint NOT NULL CHECK (granularity > 0),
  create_time  timestamptz NOT NULL DEFAULT now(),
  update_time  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dashboards_project_idx ON pugd.dashboards (project, create_time, id);

-- body: the rest of the tile as a dashboards.v1.DashboardTile in Protobuf, without what
-- is a column here. name_key: names are unique on a dashboard in any letter case, but for
-- empty ones. Deferrable, so that one statement may swap two names (D39).
CREATE TABLE pugd.dashboard_tiles (
  id           pugd.xid PRIMARY KEY,
  dashboard    pugd.xid NOT NULL REFERENCES pugd.dashboards ON DELETE CASCADE,
  display_name text NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 150),
  description  text NOT NULL DEFAULT '' CHECK (char_length(description) <= 2000),
  body         bytea NOT NULL,
  create_time  timestamptz NOT NULL DEFAULT now(),
  update_time  timestamptz NOT NULL DEFAULT now(),
  name_key     text GENERATED ALWAYS AS (nullif(lower(display_name), '')) STORED,
  CONSTRAINT dashboard_tiles_name_key UNIQUE (dashboard, name_key) DEFERRABLE
);
CREATE INDEX dashboard_tiles_dashboard_idx ON pugd.dashboard_tiles (dashboard, create_time, id);

-- The link to a dashboard: found by the SHA-256 of its token; the token itself, which
-- Get shows again, is under AES-GCM and bound to the dashboard (worker/call/seal.h). A
-- link that is off keeps its token.
CREATE TABLE pugd.dashboard_shares (
  dashboard   pugd.xid PRIMARY KEY REFERENCES pugd.dashboards ON DELETE CASCADE,
  hash        bytea NOT NULL CONSTRAINT dashboard_shares_hash_key UNIQUE
              CHECK (octet_length(hash) = 32),
  sealed      bytea NOT NULL,
  enabled     boolean NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now()
);
