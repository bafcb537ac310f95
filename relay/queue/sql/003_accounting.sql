-- How often a recipient was lost after the dot (RFC 1047): above 0 it may have been delivered already.
ALTER TABLE recipient ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- What a message came with, so that each one's recipients and body can be proved; 0 and NULL where an older relay
-- stored it.
ALTER TABLE message ADD COLUMN recipients INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN body_crc INTEGER;

-- Recipients that have ended, of messages where others still wait.
CREATE TABLE ended (
  message TEXT PRIMARY KEY NOT NULL,
  n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Idempotency keys: the first message that came with one, until its window is over.
CREATE TABLE once (
  owner TEXT NOT NULL,        -- the credential, or else listener and client
  key TEXT NOT NULL,
  message TEXT NOT NULL,
  digest TEXT NOT NULL,       -- of envelope and body
  until REAL NOT NULL,
  PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX once_until ON once (until);

-- A start asks for these before anything else: among a million messages they must not be looked for.
CREATE INDEX message_spooled ON message (id) WHERE spooled;
