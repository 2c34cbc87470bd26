-- Which node holds which generation of which module: the witness of modules that chose the server's register. A number is
-- granted once, for ever; a module's record is its row with the highest number. `nonce` is the 64 bits that the node drew
-- with its claim; none for a number that a node reported to hold already.

CREATE TABLE register_record (
    module INTEGER NOT NULL REFERENCES module (id),
    number INTEGER NOT NULL CHECK (number > 0),
    owner  INTEGER NOT NULL REFERENCES node (id),
    nonce  INTEGER,
    at_ms  INTEGER NOT NULL,
    PRIMARY KEY (module, number)
) STRICT;

CREATE TRIGGER register_record_rises BEFORE INSERT ON register_record
WHEN new.number <= (SELECT max(number) FROM register_record WHERE module = new.module)
BEGIN SELECT RAISE (ABORT, 'register_record only rises'); END;
CREATE TRIGGER register_record_kept BEFORE UPDATE ON register_record
BEGIN SELECT RAISE (ABORT, 'register_record is insert-only'); END;
CREATE TRIGGER register_record_stays BEFORE DELETE ON register_record
BEGIN SELECT RAISE (ABORT, 'register_record is insert-only'); END;
