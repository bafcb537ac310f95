-- What shaping must not forget at a restart: actions in force, warm-up figures, quotas. Small; not mail.
CREATE TABLE state (
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,  -- JSON
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
