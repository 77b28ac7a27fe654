"""Statements made to do harm, how each must end, and databases made to do harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sense.execution.outcome import Ending, Refused, Rows, SqlError, Timeout, TooMuch

Kinds = tuple[type[Ending], ...]

READ, ERROR, REFUSED, LATE, MUCH = (Rows,), (SqlError,), (Refused,), (Timeout,), (TooMuch,)
# A machine may be too slow to reach the cap, and a build of SQLite may lack a function or know it.
MUCH_OR_LATE, NOT_DONE, ANY = (TooMuch, Timeout), (Refused, SqlError), (Rows, SqlError, TooMuch, Timeout)


class Attack(NamedTuple):
    """A statement, by a name, and the kinds of ending that are right for it."""

    name: str
    sql: str
    endings: Kinds


def named(endings: Kinds, **statements: str) -> list[Attack]:
    return [Attack(name.replace("_", "-"), sql, endings) for name, sql in statements.items()]


def listed(endings: Kinds, statements: Iterable[str]) -> list[Attack]:
    return [Attack(sql, sql, endings) for sql in statements]


def counting(*, step: str = "n + 1", union: str = "UNION ALL", result: str = "count(*)") -> str:
    return f"WITH RECURSIVE c(n) AS (SELECT 1 {union} SELECT {step} FROM c) SELECT {result} FROM c"


def doubling(levels: int, step: str) -> str:
    """Write common tables that each use the one before twice."""
    tables = [f"a{n + 1} AS ({step.format(n=n)})" for n in range(levels)]
    return f"WITH a0 AS (SELECT 1 x), {', '.join(tables)} SELECT count(*) FROM a{levels}"


def colliding_rows(count: int) -> str:
    """Write rows that Python puts at one place of a hash table: each is compared with all before it."""
    p1, p2, p5 = 11400714785074694791, 14029467366897019727, 2870177450012600261  # of a tuple's hash
    size, largest = 2**64, 2**61 - 1  # whole numbers up to the latter are their own hashes
    goal = 12345 * pow(p1, -1, size) % size
    goal = (goal >> 31 | goal << 33) % size
    rows: list[str] = []
    first = 0
    while len(rows) < count:
        first += 1
        mixed = (p5 + first * p2) % size
        mixed = (mixed << 31 | mixed >> 33) * p1 % size
        second = (goal - mixed) * pow(p2, -1, size) % size
        second -= size if second >= size // 2 else 0
        if abs(second) < largest and second != -1:
            rows.append(f"({first},{second})")
    return f"VALUES {','.join(rows)}"


CROSS = "FROM many a, many b, many c"

WRITES = [
    *listed(
        REFUSED,
        [
            "INSERT INTO item(name) VALUES ('x')",
            "INSERT INTO item(name) VALUES ('x') RETURNING id",
            "INSERT INTO item(id, name) VALUES (1, 'x') ON CONFLICT(id) DO UPDATE SET name = 'x'",
            "INSERT OR REPLACE INTO item(id) VALUES (1)",
            "REPLACE INTO item(id) VALUES (1)",
            "UPDATE item SET price = 0",
            "UPDATE item SET price = 0 FROM many WHERE id = n",
            "DELETE FROM item",
            "DELETE FROM item WHERE id = 1 RETURNING *",
            "WITH x AS (SELECT 1) DELETE FROM item RETURNING id",
            "WITH x(a) AS (SELECT 7) INSERT INTO item(id) SELECT a FROM x",
            "WITH x(a) AS (SELECT 7) UPDATE item SET price = (SELECT a FROM x)",
            "EXPLAIN DELETE FROM item",
            "EXPLAIN QUERY PLAN INSERT INTO item(id) VALUES (9)",
            "DROP TABLE item",
            "DROP TABLE IF EXISTS item",
            "DROP VIEW named",
            "DROP INDEX by_price",
            "DROP TRIGGER writer",
            "ALTER TABLE item RENAME TO it",
            "ALTER TABLE item ADD COLUMN x",
            "ALTER TABLE item DROP COLUMN price",
            "ALTER TABLE item RENAME COLUMN price TO cost",
            "CREATE TABLE t(a)",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TEMP TABLE t(a)",
            "CREATE TEMP TABLE t AS SELECT 1",
            "CREATE INDEX i ON item(name)",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TEMP VIEW v AS SELECT 1",
            "CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM item; END",
            "CREATE VIRTUAL TABLE v USING fts5(a)",
            "CREATE VIRTUAL TABLE temp.v USING rtree(id, a, b)",
            "REINDEX",
            "ANALYZE",
            "VACUUM",
            "VACUUM INTO 'new.sqlite'",
            "ATTACH 'new.sqlite' AS new",
            "ATTACH ':memory:' AS new",
            "ATTACH 'file:new.sqlite?mode=rwc' AS new",
            "DETACH main",
            "BEGIN",
            "BEGIN IMMEDIATE",
            "COMMIT",
            "END",
            "ROLLBACK",
            "SAVEPOINT s",
            "RELEASE s",
            "ROLLBACK TO s",
            "INSERT INTO notes(notes) VALUES ('rebuild')",
            "INSERT INTO notes(notes) VALUES ('delete-all')",
            "INSERT INTO notes(notes, rank) VALUES ('merge', 500)",
            "INSERT INTO words(words) VALUES ('optimize')",
            "DELETE FROM notes",
            "UPDATE named SET name = 'x'",  # a view with a trigger in place of the write
            "PRAGMA journal_mode = WAL",
            "PRAGMA journal_mode",
            "PRAGMA user_version = 7",
            "PRAGMA writable_schema = ON",
            "PRAGMA query_only = OFF",
            "PRAGMA temp_store_directory = '/'",
            "PRAGMA hard_heap_limit = 0",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA incremental_vacuum",
            "PRAGMA optimize",
            "PRAGMA integrity_check",
            "PRAGMA database_list",
            "PRAGMA table_info(item)",
            "SELECT * FROM pragma_table_info('item')",
            "SELECT * FROM pragma_database_list",
            "SELECT * FROM pragma_journal_mode('wal')",
            "SELECT 1; DELETE FROM item",
            "SELECT 1; ATTACH 'new.sqlite' AS new",
            "SELECT 1; SELECT 2",
            "SELECT load_extension('x')",
            "SELECT fts3_tokenizer('simple')",
            "SELECT fts3_tokenizer('simple', x'4141414141414141')",
            "SELECT optimize(words) FROM words LIMIT 1",  # the full-text module's own function, which writes
        ],
    ),
    *listed(
        NOT_DONE,
        [
            "UPDATE sqlite_master SET sql = ''",
            "INSERT INTO sqlite_schema(type, name) VALUES ('table', 'x')",
            "DELETE FROM sqlite_master",
            "INSERT INTO notes_data(id) VALUES (1)",
            "SELECT readfile('/etc/hostname')",
            "SELECT writefile('new.txt', 'x')",
            "SELECT edit('x', 'touch new.txt')",
            "SELECT rtreecheck('main', 'area')",
            "SELECT * FROM dbstat",
            "SELECT * FROM sqlite_stmt",
            "SELECT * FROM sqlite_dbpage",
            "SELECT * FROM fsdir('.')",
            "SELECT * FROM zipfile('new.zip')",
            "SELECT * FROM csv('new.csv')",
            "SELECT * FROM fts4aux",
            "SELECT * FROM temp.pragma_data_version",
        ],
    ),
    *listed(ANY + REFUSED, ["SELECT * FROM generate_series(1, 10)", "SELECT rtreenode(2, zeroblob(10))"]),
]

ODD = [
    *named(
        ERROR,
        nothing="",
        white_space=" \t\n\r\f ",
        comment="-- a comment",
        comments="-- one\n/* two */ -- three",
        open_comment="/* a comment",
        semicolons=";;;",
        open_string="SELECT 'abc",
        open_name='SELECT "abc',
        surrogate="SELECT '\ud800'",
        surrogate_name='SELECT "\udfff" FROM item',
        nul="SELECT 1\0; DROP TABLE item",
        only_nul="\0",
        byte_order_marks="\ufeff\ufeffSELEC",
        brackets="SELECT " + "(" * 400_000 + "1" + ")" * 400_000,
        open_brackets="SELECT DISTINCT " + "(" * 999_000,
        functions="SELECT " + "abs(" * 10_000 + "1" + ")" * 10_000,
        cases="SELECT " + "CASE WHEN 1 THEN " * 10_000 + "1" + " END" * 10_000,
        subqueries="SELECT " + "(SELECT " * 10_000 + "1" + ")" * 10_000,
        sources="SELECT 1 FROM " + "(SELECT 1 FROM " * 10_000 + "item" + ")" * 10_000,
        unions=" UNION ALL ".join(["SELECT 1"] * 10_000),
        sum="SELECT 1" + " + 1" * 100_000,
        nots="SELECT " + "NOT " * 200_000 + "1",
        minuses="SELECT " + "- " * 200_000 + "1",
        columns="SELECT " + ", ".join(["1"] * 2_001),
        tables="SELECT 1 FROM " + ", ".join(["many"] * 1_000),
        natural_joins="SELECT 1 FROM item" + " NATURAL JOIN item" * 100,
        long_name="SELECT " + "a" * 900_000,
        questions="SELECT " + " + ".join(["?"] * 900),
        question_numbers="SELECT 1 IN (" + ",".join(["?"] * 40_000) + ")",
        named_parameters="SELECT :a, @b, $c",
        high_parameter="SELECT ?250000",
        overflow="SELECT abs(-9223372036854775808)",
        sum_overflow="SELECT sum(9223372036854775807) FROM many",
        deep_json="SELECT json_extract('" + "[" * 3_000 + "]" * 3_000 + "', '$')",
        match_brackets="SELECT 1 FROM notes WHERE notes MATCH '" + "(" * 100_000 + "a" + ")" * 100_000 + "'",
        match_syntax="SELECT 1 FROM notes WHERE notes MATCH 'NEAR('",
        old_match_brackets="SELECT 1 FROM words WHERE words MATCH '" + "(" * 5_000 + "a" + ")" * 5_000 + "'",
        no_module="SELECT * FROM orphan",
    ),
    *named(
        READ,
        huge_integers="SELECT 9223372036854775807, -9223372036854775808, 99999999999999999999",
        too_large_a_fraction="SELECT 9e999, -9e999",
        digits="SELECT " + "9" * 100_000,
        division_by_zero="SELECT 1 / 0, 1 % 0, 1.0 / 0",
        wide="SELECT " + ", ".join(["1"] * 2_000) + " FROM many LIMIT 100",
        invalid_utf8="SELECT a FROM odd",
        invalid_utf8_made="SELECT CAST(x'ff00fe' AS TEXT), CAST(x'eda080' AS TEXT)",
        invalid_utf8_name='SELECT 1 AS "' + "\u20ac" * 1_000 + '"',
        characters="SELECT char(0, 55296, 1114111, 99999999)",
        random_text="SELECT CAST(randomblob(100000) AS TEXT)",
        blob_keys="SELECT count(*) FROM many GROUP BY randomblob(10)",
        explain="EXPLAIN SELECT * FROM item",
        many_names="SELECT " + ", ".join(f"n AS a{n}" for n in range(2_000)) + " FROM many LIMIT 1",
        nested_json="SELECT json_extract('" + "[" * 1_000 + "]" * 1_000 + "', '$')",
        log="SELECT sqlite_log(1, 'x')",
        rtree="SELECT * FROM area",
    ),
    *named(
        MUCH,
        million_brackets="SELECT " + "(" * 1_000_000,
        five_megabytes="SELECT '" + "a" * 5_000_000 + "'",
        five_megabytes_of_words="SELECT DISTINCT " + "DISTINCT " * 600_000,
    ),
]

SIZES = [
    *named(
        MUCH,
        zeroblob="SELECT zeroblob(1000000000)",
        randomblob="SELECT randomblob(1000000000)",
        hex="SELECT hex(zeroblob(10000000))",
        replace="SELECT replace(hex(zeroblob(100000)), '0', hex(zeroblob(100000)))",
        replace_doubled="SELECT "
        + "replace(" * 30
        + "'aaaaaaaaaaaaaaaa'"
        + ", 'a', 'aaaaaaaaaaaaaaaa')" * 30,
        concatenation="SELECT " + " || ".join(["hex(zeroblob(1000000))"] * 20),
        quote="SELECT quote(zeroblob(15000000))",
        concatenation_in_recursion=counting(step="n || n", result="max(length(n))"),
        many_rows="SELECT 1 FROM many a, many b",
        many_bytes="SELECT zeroblob(1000000) FROM many",
    ),
    # SQLite gives NULL for a text that would be too long, at once or after it has been made.
    *named(
        (Rows, TooMuch, Timeout),
        printf_width="SELECT printf('%1000000000d', 1)",
        printf_star="SELECT printf('%.*c', 1000000000, 'x')",
        printf_precision="SELECT printf('%.1000000000f', 1.5)",
    ),
    *named(
        MUCH_OR_LATE,
        group_concat="SELECT group_concat(hex(zeroblob(10000))) FROM many",
        group_concat_rows="SELECT group_concat(a.n || b.n || c.n) " + CROSS,
        json_group_array="SELECT json_group_array(hex(zeroblob(10000))) FROM many",
        json_group_object="SELECT json_group_object(a.n, hex(zeroblob(100))) " + CROSS,
        wide_rows="SELECT " + ", ".join(["hex(zeroblob(100))"] * 500) + " FROM many",
        long_rows="SELECT " + ", ".join(["zeroblob(1000000)"] * 100),
        rows_that_grow="SELECT zeroblob(CASE WHEN b.n < 3 THEN 1 ELSE 16000000 END) FROM many b, many a",
        rows_that_grow_late="SELECT zeroblob(CASE WHEN row_number() OVER () < 2500 THEN 1 ELSE 16000000 END)"
        " FROM many a, many b LIMIT 5000",
    ),
]

# Just under each cap of the tests: to hand these over takes a machine without other work less than a second.
UNDER_THE_CAPS = named(
    (Rows, Timeout, TooMuch),
    value_under_the_cap="SELECT zeroblob(16000000)",
    rows_at_the_cap="SELECT 1 FROM many a, many b LIMIT 50000",
    bytes_under_the_cap="SELECT zeroblob(1000000) FROM many LIMIT 30",
    text_that_grows_in_json="SELECT CAST(zeroblob(1000000) AS TEXT) FROM many LIMIT 10",
)

ENDLESS = [
    *named(
        LATE,
        union_all=counting(),
        union=counting(union="UNION"),
        overflow_to_real=counting(step="n * 2"),
        text=counting(step="(n + 1) || ''"),
        no_rows=counting(result="n").replace("SELECT n FROM c", "SELECT n FROM c WHERE n < 0"),
        limited_late=counting() + " LIMIT 1",
        two_arms="WITH RECURSIVE c(n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM c UNION ALL SELECT n + 2 FROM c)"
        " SELECT count(*) FROM c WHERE n = 1",
        ordered=counting().replace("FROM c)", "FROM c ORDER BY 1 DESC)"),
        inside_where="SELECT 1 FROM item WHERE id IN ("
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n - 1 FROM c) SELECT n FROM c WHERE n > 1)",
        window=counting(step="1", result="sum(n) OVER (ORDER BY n)"),
        count="SELECT count(*) " + CROSS + ", many d",
        count_self="SELECT count(*) FROM item" + ", item" * 40,
        no_match="SELECT 1 " + CROSS + ", many d WHERE a.n + b.n + c.n + d.n < 0",
        correlated="SELECT max((SELECT count(*) FROM many b, many c WHERE b.n > a.n)) FROM many a",
        exists="SELECT 1 FROM many a WHERE EXISTS"
        " (SELECT 1 FROM many b, many c, many d WHERE a.n + b.n + c.n + d.n < 0)",
        view="SELECT * FROM endless",
        view_of_view="SELECT count(*) FROM twice_endless",
        join_of_views="SELECT count(*) FROM endless, twice_endless",
        like="SELECT hex(zeroblob(8000000)) LIKE '%' || hex(zeroblob(24000)) || '1'",
        glob="SELECT hex(zeroblob(8000000)) GLOB '*' || hex(zeroblob(24000)) || '1'",
        instr="SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')",
        replace_slowly="SELECT length(replace(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1', ''))",
        trim="SELECT length(trim(hex(zeroblob(4000000)), replace(hex(zeroblob(100000)), '0', 'a') || '0'))",
        hexes=counting(result="max(length(hex(randomblob(4000000))))"),
    ),
    *named(
        MUCH_OR_LATE,
        compiled_twice_each=doubling(40, "SELECT p.x + q.x x FROM a{n} p, a{n} q LIMIT 5"),
        compiled_unions=doubling(40, "SELECT x FROM a{n} UNION SELECT x + 1 FROM a{n}"),
        compiled_scalars=doubling(40, "SELECT (SELECT x FROM a{n}) + (SELECT x FROM a{n}) x"),
        union_remembered="WITH RECURSIVE c(n) AS (SELECT x'' UNION SELECT randomblob(1000) FROM c)"
        " SELECT count(*) FROM c",
        sort="SELECT 1 " + CROSS + " ORDER BY a.n * b.n * c.n",
        sort_randomly="SELECT a.n " + CROSS + " ORDER BY random()",
        sort_blobs="SELECT a.n " + CROSS + " ORDER BY randomblob(1000)",
        sort_large_blobs="SELECT a.n " + CROSS + " ORDER BY randomblob(1000000)",
        group="SELECT count(*) " + CROSS + " GROUP BY a.n, b.n, c.n",
        group_blobs="SELECT count(*) " + CROSS + " GROUP BY randomblob(100000)",
        distinct="SELECT DISTINCT a.n * 1000000 + b.n * 1000 + c.n " + CROSS,
        count_distinct="SELECT count(DISTINCT randomblob(10000)) " + CROSS,
        except_="SELECT a.n, b.n, c.n " + CROSS + " EXCEPT SELECT 1, 1, 1",
        intersect="SELECT a.n, b.n, c.n " + CROSS + " INTERSECT SELECT c.n, b.n, a.n " + CROSS,
        automatic_index="SELECT count(*) FROM (SELECT a.n x " + CROSS + ") p"
        " JOIN (SELECT b.n y " + CROSS + ") q ON p.x = q.y",
        window_over_all="SELECT sum(a.n) OVER (ORDER BY b.n, c.n ROWS UNBOUNDED PRECEDING) " + CROSS,
        window_over_blobs="SELECT count(*) FROM (SELECT lag(randomblob(100000), 1000000) OVER () "
        + CROSS
        + ")",
        window_over_endless=counting(result="row_number() OVER (ORDER BY n DESC)"),
        materialized="WITH t AS MATERIALIZED (SELECT randomblob(100000) x "
        + CROSS
        + ") SELECT count(x) FROM t",
        json_each="SELECT count(*) FROM many,"
        " json_each('[' || replace(hex(zeroblob(3000000)), '0', '1,') || '1]')",
    ),
]

ATTACKS = [*WRITES, *ODD, *SIZES, *UNDER_THE_CAPS, *ENDLESS]


def make_target(path: Path) -> Path:
    """Make a small database with one thing of each kind, some of them hostile."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL);
            INSERT INTO item VALUES (1, 'pen', 1.0), (2, 'ink', 2.5), (3, 'pad', 2.5);
            CREATE INDEX by_price ON item(price);
            CREATE TABLE many(n INT);
            INSERT INTO many WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000)
              SELECT n FROM c;
            CREATE TABLE odd(a TEXT);
            INSERT INTO odd VALUES (CAST(x'41ff42' AS TEXT));
            CREATE VIEW named AS SELECT name FROM item;
            CREATE TRIGGER writer INSTEAD OF UPDATE ON named BEGIN DELETE FROM item; END;
            CREATE VIEW endless AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
              SELECT max(n) AS n FROM c;
            CREATE VIEW twice_endless AS SELECT a.n FROM endless a, endless b;
            CREATE VIRTUAL TABLE notes USING fts5(body);
            INSERT INTO notes VALUES ('a blue pen');
            CREATE VIRTUAL TABLE words USING fts4(body);
            INSERT INTO words VALUES ('a red pen');
            INSERT INTO words VALUES ('a green pen');
            CREATE VIRTUAL TABLE area USING rtree(id, low, high);
            INSERT INTO area VALUES (1, 0.0, 1.0);
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_master VALUES
              ('table', 'orphan', 'orphan', 0, 'CREATE VIRTUAL TABLE orphan USING missing(a)');
            """
        )
    return path
