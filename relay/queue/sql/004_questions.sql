-- What a start and the metrics ask must not read a million messages. `state` is in the indexes because SQLite 3.40
-- looks at it in the table otherwise, though every row of a partial index has the same; `received_at` for the oldest.
CREATE INDEX recipient_held ON recipient (stream, message, idx, state) WHERE state = 'held';
DROP INDEX recipient_due;
CREATE INDEX recipient_due ON recipient (stream, due_at, message, idx, state, received_at) WHERE state = 'queued';

-- What was lost after the dot: few, but counted whenever the gauges are read.
CREATE INDEX recipient_lost ON recipient (stream, lost) WHERE lost > 0;
