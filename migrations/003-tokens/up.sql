-- Tokens by which scripts are let in; kept as their hash only.

CREATE TABLE api_token (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    secret_hash BLOB NOT NULL UNIQUE,
    name        TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL CHECK (role IN ('admin', 'control', 'monitor')),
    made_by     TEXT NOT NULL,
    made_ms     INTEGER NOT NULL,
    used_ms     INTEGER NOT NULL DEFAULT 0
) STRICT;
