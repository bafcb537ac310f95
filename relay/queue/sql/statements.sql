-- Every statement the store runs, by name. Values are always bound, never pasted in.

-- name: put_message
-- OR ROLLBACK: who fails ends the whole group anyway, and SQLite need not keep what a statement of many rows would
-- have to put back, which is a temporary file made and removed in every commit.
INSERT OR ROLLBACK INTO message (id, received_at, stream, pool, route, sender, return_path, envid, ret, body_type, utf8,
                     credential, client, tags, eight_bit, size, header, body, body_size, spooled, recipients,
                     body_crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_recipient
INSERT OR ROLLBACK INTO recipient (message, idx, address, domain, notify, orcpt, stream, state, received_at, due_at,
                       attempts, delay_notified, last, flow)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?);

-- name: count
UPDATE tally SET n = n + ?2 WHERE name = ?1;

-- name: end_recipient
DELETE FROM recipient WHERE message = ?1 AND idx = ?2 AND attempts < ?3 AND {allowed};

-- name: defer_recipient
UPDATE recipient SET {becomes}, attempts = ?3, due_at = ?4,
  last = CASE WHEN state = 'held' AND last GLOB 'brake *' AND NOT ?7 THEN last ELSE ?5 END,
  delay_notified = MAX(delay_notified, ?6)
WHERE message = ?1 AND idx = ?2 AND attempts < ?3 AND {allowed};

-- name: standing
SELECT attempts, state, lost FROM recipient WHERE message = ?1 AND idx = ?2;

-- name: note_ended
INSERT INTO ended (message, n) VALUES (?1, ?2) ON CONFLICT (message) DO UPDATE SET n = n + excluded.n;

-- name: drop_ended
DELETE FROM ended WHERE message = ?1;

-- name: count_ending
-- The first condition says again what the second one says: SQLite finds rows by it, and would read all for the second.
SELECT COUNT(*) FROM recipient WHERE message IN ({ids}) AND (message, idx) IN (VALUES {keys}) AND attempts < ? AND {allowed};

-- name: end_recipients
DELETE FROM recipient WHERE message IN ({ids}) AND (message, idx) IN (VALUES {keys}) AND attempts < ? AND {allowed};

-- name: left_messages
SELECT json_group_array(json_array(id, spooled, stream, size, recipients)) FROM message m
WHERE id IN ({ids}) AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message = m.id);

-- name: drop_messages
DELETE FROM message WHERE id IN ({ids});

-- name: due
SELECT due_at, message, idx, address, domain, stream, received_at, attempts, delay_notified, flow, lost
FROM recipient INDEXED BY recipient_due
WHERE stream = ?1 AND state = 'queued' AND (due_at, message, idx) > (?2, ?3, ?4) AND due_at <= ?5
ORDER BY due_at, message, idx LIMIT ?6;

-- name: due_of_part
SELECT due_at, message, idx, address, domain, stream, received_at, attempts, delay_notified, flow, lost
FROM recipient INDEXED BY recipient_part
WHERE stream = ?1 AND state = 'queued' AND (due_at, message, idx) > (?2, ?3, ?4) AND due_at <= ?5
AND domain = ?7 AND flow = ?8 ORDER BY due_at, message, idx LIMIT ?6;

-- name: load_message
SELECT id, received_at, stream, pool, route, sender, return_path, envid, ret, body_type, utf8, credential,
       client, tags, eight_bit, size, header, body, body_size
FROM message WHERE id = ?1;

-- name: load_recipients
SELECT idx, address, notify, orcpt FROM recipient WHERE message = ?1 AND state = 'queued' ORDER BY idx;

-- name: streams
WITH RECURSIVE found (name) AS (  -- from one stream to the next in the index: DISTINCT would read all of it
  SELECT MIN(stream) FROM recipient INDEXED BY recipient_due WHERE state = 'queued'
  UNION ALL
  SELECT (SELECT MIN(stream) FROM recipient INDEXED BY recipient_due WHERE state = 'queued' AND stream > name)
  FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL;

-- name: tally
SELECT name, n FROM tally;

-- name: waiting
SELECT stream, 'queued', COUNT(*) FROM recipient INDEXED BY recipient_due WHERE state = 'queued' GROUP BY stream
UNION ALL
SELECT stream, 'held', COUNT(*) FROM recipient INDEXED BY recipient_held WHERE state = 'held' GROUP BY stream
UNION ALL
SELECT stream, 'lost', COUNT(*) FROM recipient INDEXED BY recipient_lost WHERE lost > 0 GROUP BY stream;

-- name: oldest
SELECT stream, MIN(received_at) FROM recipient INDEXED BY recipient_due WHERE state = 'queued' GROUP BY stream;

-- name: waiting_since
SELECT substr(message, 1, ?3), COUNT(*) FROM recipient
WHERE message >= ?2 AND stream = ?1 AND state = 'queued' GROUP BY 1;

-- name: spooled
SELECT id FROM message INDEXED BY message_spooled WHERE spooled;

-- name: recall
SELECT key, value FROM state WHERE kind = ?1;

-- name: recall_one
SELECT value FROM state WHERE kind = ?1 AND key = ?2;

-- name: remember
INSERT INTO state (kind, key, value) VALUES (?1, ?2, ?3)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value;

-- name: forget
DELETE FROM state WHERE kind = ?1 AND key = ?2;

-- name: stock
INSERT INTO state (kind, key, value) VALUES (?1, ?2, json_array(?3, ?4))
ON CONFLICT (kind, key) DO UPDATE
SET value = json_array(json_extract(value, '$[0]') + ?3, json_extract(value, '$[1]') + ?4);

-- name: count_stock
SELECT stream, COUNT(*), SUM(size) FROM message GROUP BY stream;

-- name: known_key
SELECT message, digest FROM once WHERE owner = ?1 AND key = ?2 AND until > ?3;

-- name: keep_key
INSERT OR REPLACE INTO once (owner, key, message, digest, until) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: forget_keys
DELETE FROM once WHERE (owner, key) IN (SELECT owner, key FROM once WHERE until <= ?1 ORDER BY until LIMIT ?2);

-- name: check_recipients
SELECT r.message, r.idx, r.address FROM recipient r
WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = r.message);

-- name: check_messages
SELECT m.id FROM message m WHERE NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message = m.id);

-- name: check_ended
SELECT e.message FROM ended e WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = e.message);

-- name: check_rows
SELECT message, address, state, lost, attempts FROM recipient WHERE {wrong};

-- name: check_times
SELECT message, address, due_at FROM recipient
WHERE NOT (received_at <= ?1 AND due_at <= ?1 AND due_at >= received_at - ?2);

-- name: check_sums
SELECT id, recipients, waiting, ended FROM (
  SELECT m.id, m.recipients, (SELECT COUNT(*) FROM recipient r WHERE r.message = m.id) AS waiting,
         COALESCE((SELECT n FROM ended e WHERE e.message = m.id), 0) AS ended
  FROM message m WHERE m.recipients > 0)
WHERE recipients <> waiting + ended;

-- name: check_spooled
SELECT id, body_size, body_crc FROM message WHERE spooled;

-- name: check_inline
SELECT id, body, body_size, body_crc FROM message WHERE NOT spooled;

-- name: check_there
SELECT 1 FROM message WHERE id = ?1;

-- name: spooled_bytes
SELECT COALESCE(SUM(body_size), 0) FROM message WHERE spooled;

-- name: hold_restored
UPDATE recipient SET state = 'held', last = CASE WHEN last = '' THEN ?1 ELSE ?1 || '; before: ' || last END;
