-- Every statement the store runs, by name. Values are always bound, never pasted in.

-- name: put_message
INSERT INTO message (id, received_at, stream, pool, route, sender, return_path, envid, ret, body_type, utf8,
                     credential, client, tags, eight_bit, size, header, body, body_size, spooled)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_recipient
INSERT INTO recipient (message, idx, address, domain, notify, orcpt, stream, state, received_at, due_at,
                       attempts, delay_notified, last, flow)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?);

-- name: count
UPDATE tally SET n = n + ?2 WHERE name = ?1;

-- name: end_recipient
DELETE FROM recipient WHERE message = ?1 AND idx = ?2 AND attempts < ?3;

-- name: defer_recipient
UPDATE recipient SET attempts = ?3, due_at = ?4, last = CASE WHEN state = 'held' AND last GLOB 'brake *' THEN last ELSE ?5 END, delay_notified = MAX(delay_notified, ?6)
WHERE message = ?1 AND idx = ?2 AND attempts < ?3;

-- name: drop_message
DELETE FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = ?1)
RETURNING spooled, stream, size;  -- not "body IS NULL": SQLite 3.40 answers 0 to that for a NULL in this table

-- name: due
SELECT due_at, message, idx, address, domain, stream, received_at, attempts, delay_notified, flow
FROM recipient INDEXED BY recipient_due
WHERE stream = ?1 AND state = 'queued' AND (due_at, message, idx) > (?2, ?3, ?4) AND due_at <= ?5
ORDER BY due_at, message, idx LIMIT ?6;

-- name: due_of_part
SELECT due_at, message, idx, address, domain, stream, received_at, attempts, delay_notified, flow
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
SELECT stream, 'held', COUNT(*) FROM recipient INDEXED BY recipient_held WHERE state = 'held' GROUP BY stream;

-- name: oldest
SELECT stream, MIN(received_at) FROM recipient INDEXED BY recipient_due WHERE state = 'queued' GROUP BY stream;

-- name: waiting_since
SELECT substr(message, 1, ?3), COUNT(*) FROM recipient
WHERE message >= ?2 AND stream = ?1 AND state = 'queued' GROUP BY 1;

-- name: spooled
SELECT id FROM message INDEXED BY message_spooled WHERE spooled;

-- name: recall
SELECT key, value FROM state WHERE kind = ?1;

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
