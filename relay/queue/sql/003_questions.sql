-- What a start and the metrics ask must not read a million messages; both cost nothing for mail that is neither.
CREATE INDEX message_spooled ON message (id) WHERE spooled;
CREATE INDEX recipient_held ON recipient (stream, message, idx) WHERE state = 'held';
