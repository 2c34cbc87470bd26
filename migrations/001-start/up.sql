-- The management server's first schema. Times are Unix milliseconds. Desired configuration is insert-only.

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE user (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role       TEXT NOT NULL CHECK (role IN ('admin', 'control', 'monitor')),
    password   TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- A session's token is kept as its hash only.
CREATE TABLE session (
    token_hash   BLOB PRIMARY KEY,
    user         INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    created_ms   INTEGER NOT NULL,
    last_used_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE cluster_version (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    config  TEXT NOT NULL,
    author  TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    note    TEXT NOT NULL
) STRICT;

-- AUTOINCREMENT: a node's number is never reused.
CREATE TABLE node (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    address       TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    enrolled_ms   INTEGER NOT NULL,
    enrolled_by   TEXT NOT NULL,
    last_seen_ms  INTEGER NOT NULL DEFAULT 0,
    revoked_ms    INTEGER
) STRICT;
CREATE UNIQUE INDEX node_name ON node (name) WHERE revoked_ms IS NULL;
CREATE UNIQUE INDEX node_fingerprint ON node (fingerprint) WHERE revoked_ms IS NULL;

-- Every certificate the CA has signed for a node, for the revocation list.
CREATE TABLE certificate (
    serial       BLOB PRIMARY KEY,
    node         INTEGER NOT NULL REFERENCES node (id),
    not_after_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE module (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    template   TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    removed_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX module_name ON module (name) WHERE removed_ms IS NULL;

CREATE TABLE module_version (
    module  INTEGER NOT NULL REFERENCES module (id),
    version INTEGER NOT NULL CHECK (version > 0),
    package BLOB NOT NULL,
    author  TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    note    TEXT NOT NULL,
    PRIMARY KEY (module, version)
) STRICT;

-- Which version the nodes are to have: the newest row of a module counts.
CREATE TABLE module_wanted (
    id      INTEGER PRIMARY KEY,
    module  INTEGER NOT NULL,
    version INTEGER NOT NULL,
    author  TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    FOREIGN KEY (module, version) REFERENCES module_version (module, version)
) STRICT;
CREATE INDEX module_wanted_module ON module_wanted (module, id);

CREATE TABLE token (
    secret_hash BLOB PRIMARY KEY,
    created_ms  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    expires_ms  INTEGER NOT NULL,
    used_ms     INTEGER,
    used_by     TEXT
) STRICT;

-- `view` is the task as the console sees it, JSON.
CREATE TABLE task (
    id   INTEGER PRIMARY KEY,
    view TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    id    INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    text  TEXT NOT NULL
) STRICT;

CREATE TRIGGER cluster_version_kept BEFORE UPDATE ON cluster_version
BEGIN SELECT RAISE (ABORT, 'cluster_version is insert-only'); END;
CREATE TRIGGER cluster_version_stays BEFORE DELETE ON cluster_version
BEGIN SELECT RAISE (ABORT, 'cluster_version is insert-only'); END;
CREATE TRIGGER module_version_kept BEFORE UPDATE ON module_version
BEGIN SELECT RAISE (ABORT, 'module_version is insert-only'); END;
CREATE TRIGGER module_version_stays BEFORE DELETE ON module_version
BEGIN SELECT RAISE (ABORT, 'module_version is insert-only'); END;
CREATE TRIGGER module_wanted_kept BEFORE UPDATE ON module_wanted
BEGIN SELECT RAISE (ABORT, 'module_wanted is insert-only'); END;
CREATE TRIGGER module_wanted_stays BEFORE DELETE ON module_wanted
BEGIN SELECT RAISE (ABORT, 'module_wanted is insert-only'); END;
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit
BEGIN SELECT RAISE (ABORT, 'audit is insert-only'); END;
