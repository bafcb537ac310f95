-- Messages and the recipients that still wait; whoever has an end is only counted (tally) and in the event log.
CREATE TABLE message (
  id TEXT PRIMARY KEY NOT NULL,
  received_at REAL NOT NULL,
  stream TEXT NOT NULL,
  pool TEXT NOT NULL,
  route TEXT NOT NULL,
  sender TEXT NOT NULL,
  return_path TEXT NOT NULL,
  envid TEXT NOT NULL,
  ret TEXT NOT NULL,
  body_type TEXT NOT NULL,
  utf8 INTEGER NOT NULL,
  credential TEXT NOT NULL,
  client TEXT NOT NULL,
  tags TEXT NOT NULL,
  eight_bit INTEGER NOT NULL,
  size INTEGER NOT NULL,
  header BLOB NOT NULL,
  body BLOB,                  -- NULL when spooled
  body_size INTEGER NOT NULL,
  spooled INTEGER NOT NULL    -- 1: the body is the spool file of the same id
) STRICT;

CREATE TABLE recipient (
  message TEXT NOT NULL,
  idx INTEGER NOT NULL,
  address TEXT NOT NULL,
  domain TEXT NOT NULL,
  notify TEXT NOT NULL,
  orcpt TEXT NOT NULL,
  stream TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'held')),
  received_at REAL NOT NULL,
  due_at REAL NOT NULL,
  attempts INTEGER NOT NULL,
  delay_notified INTEGER NOT NULL,
  last TEXT NOT NULL,
  flow TEXT NOT NULL,         -- app|campaign: who takes turns inside a stream
  PRIMARY KEY (message, idx)
) STRICT, WITHOUT ROWID;

-- The order in which a stream's backlog is read; held mail is not in it.
CREATE INDEX recipient_due ON recipient (stream, due_at, message, idx) WHERE state = 'queued';
-- The same for one flow to one domain, when it has fallen behind the others.
CREATE INDEX recipient_part ON recipient (stream, domain, flow, due_at, message, idx) WHERE state = 'queued';

CREATE TABLE tally (
  name TEXT PRIMARY KEY NOT NULL,
  n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO tally VALUES ('accepted', 0), ('delivered', 0), ('bounced', 0), ('expired', 0),
                         ('suppressed', 0), ('cancelled', 0);
