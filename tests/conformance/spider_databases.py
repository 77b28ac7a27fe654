"""The databases of the recorded Spider verdicts, as SQL text: the files are built anew for each run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

SCHOOL = """
CREATE TABLE student(id INTEGER PRIMARY KEY, name TEXT, sex TEXT, age INTEGER, city TEXT, advisor INTEGER);
INSERT INTO student VALUES
  (1, 'Ann', 'F', 20, 'Bern', 10), (2, 'Bob', 'M', 22, 'Basel', 10), (3, 'Cid', 'M', 20, 'Bern', 11),
  (4, 'Dee', 'F', 25, NULL, NULL), (5, 'Eve', 'F', 22, 'Chur', 11), (6, 'Ann', 'F', 31, 'Basel', 12);
CREATE TABLE course(id INTEGER PRIMARY KEY, title TEXT, credits INTEGER, dept TEXT);
INSERT INTO course VALUES
  (100, 'Logic', 4, 'Math'), (101, 'Sets', 4, 'Math'), (102, 'Ethics', 2, 'Arts'),
  (103, 'Optics', 6, 'Physics');
CREATE TABLE enrolled(student_id INTEGER, course_id INTEGER, grade TEXT, score REAL);
INSERT INTO enrolled VALUES
  (1, 100, 'A', 5.5), (1, 101, 'B', 4.5), (2, 100, 'A', 5.5), (3, 102, 'C', 4.0), (5, 100, 'B', 4.75),
  (5, 101, 'A', 5.25), (5, 102, 'B', 4.75), (6, 102, NULL, NULL);
CREATE TABLE teacher(id INTEGER PRIMARY KEY, name TEXT, dept TEXT, birth_year INTEGER);
INSERT INTO teacher VALUES (10, 'Kim', 'Math', 1970), (11, 'Lou', 'Arts', 1980), (12, 'Max', 'Math', 1990);
"""

SHOP_TABLES = """
CREATE TABLE product(
  id INTEGER PRIMARY KEY, name TEXT, price REAL, kind TEXT, market_value INTEGER, stock INTEGER, c1 INTEGER);
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT, age INTEGER);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer_id INTEGER, product_id INTEGER, amount INTEGER, day TEXT);
CREATE TABLE setting(key TEXT, value TEXT);
"""
SHOP = f"""{SHOP_TABLES}
INSERT INTO product VALUES
  (1, 'pen', 1.0, 'desk', 5, 10, 1), (2, 'ink', 2.5, 'desk', 5, 0, 2), (3, 'pad', 2.5, 'paper', NULL, 7, 1),
  (4, 'map', 9.0, 'paper', 8, 7, 3);
INSERT INTO customer VALUES (1, 'Ida', 'Bern', 30), (2, 'Jon', 'Basel', 41), (3, 'Kay', 'Bern', 25);
INSERT INTO sale VALUES
  (1, 1, 1, 2, '2020-01-05'), (2, 1, 4, 1, '2020-02-01'), (3, 2, 1, 5, '2021-02-01'),
  (4, 3, 2, 1, '2021-03-09');
INSERT INTO setting VALUES ('tax', '8'), ('1', '1'), ('value', 'value');
"""
# The variants of a suite tell apart queries that agree on the first file by chance.
SHOP_1 = f"""{SHOP_TABLES}
INSERT INTO product VALUES
  (1, 'pen', 3.0, 'desk', 5, 10, 4), (2, 'ink', 2.5, 'desk', 9, 3, 2), (3, 'pen', 3.0, 'paper', 1, 7, 1),
  (5, 'cap', 20.0, 'wear', 2, 0, 1);
INSERT INTO customer VALUES (1, 'Ida', 'Bern', 30), (2, 'Ida', 'Bern', 25), (4, 'Leo', NULL, NULL);
INSERT INTO sale VALUES
  (1, 1, 1, 2, '2020-01-05'), (2, 1, 1, 2, '2020-02-01'), (3, 4, 5, 5, '2021-02-01'),
  (4, 9, 2, 1, '2021-03-09');
INSERT INTO setting VALUES ('tax', '7'), ('1', '2');
"""
SHOP_2 = SHOP_TABLES

ODD = """
CREATE TABLE mixed(id INTEGER PRIMARY KEY, n INTEGER, r REAL, t TEXT, b BLOB, x);
INSERT INTO mixed VALUES
  (1, 1, 1, '1', x'31', 1), (2, 'two', 2.5, 'two', x'74776f', 'two'), (3, NULL, NULL, NULL, NULL, NULL),
  (4, 9007199254740993, 9007199254740993, '', x'', 9007199254740992.0),
  (5, 9223372036854775807, 1e300, ' ', x'00ff', '1.0'), (6, -1, -1.0, 'a', 'a', 0),
  (7, 10, 10, '10', x'3130', '1');
CREATE TABLE bad(id INTEGER, t TEXT);
INSERT INTO bad VALUES
  (1, CAST(x'41ff42' AS TEXT)), (2, 'AB'), (3, CAST(x'c3' AS TEXT)), (4, ''), (5, 'é'),
  (6, CAST(x'c3a9ff' AS TEXT));
CREATE TABLE days(id INTEGER, d TEXT, at DATE);
INSERT INTO days VALUES (1, '2020-01-01', '2020-01-01'), (2, '2020-1-1', 20200101), (3, '2019-12-31', NULL),
  (4, '', '2020-01-01 00:00:00');
CREATE TABLE bare(a INTEGER, b TEXT);
CREATE TABLE marks("distinct" INTEGER, distinct_count INTEGER, note TEXT, "order by" TEXT);
INSERT INTO marks VALUES (1, 2, 'distinct', 'x'), (1, 3, 'DISTINCT x', 'y'), (2, 3, 'order by', 'x');
CREATE TABLE place(id INTEGER, name TEXT, "long name" TEXT);
INSERT INTO place VALUES
  (1, 'Zürich', 'Zürich HB'), (2, '東京', '東京駅'), (3, 'Saint-Élie', 'O''Hare'), (4, 'zürich', '😀'),
  (5, 'a;b', 'c -- d'), (6, 'tab' || char(9) || 'bed', 'two  blanks');
"""

WIDE = """
CREATE TABLE flags(a INTEGER, b INTEGER, c INTEGER, d INTEGER, e INTEGER, f INTEGER, g INTEGER);
INSERT INTO flags VALUES
  (0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 1, 1), (0, 0, 0, 0, 1, 1, 1), (0, 0, 0, 1, 1, 1, 1),
  (0, 0, 1, 1, 1, 1, 1), (0, 1, 1, 1, 1, 1, 1), (1, 0, 1, 0, 1, 0, 1);
CREATE TABLE twins(a INTEGER, b INTEGER, c TEXT, d TEXT);
INSERT INTO twins VALUES (1, 1, 'x', 'x'), (2, 2, 'y', 'y'), (2, 2, 'y', 'y'), (3, 3, 'x', 'x');
CREATE TABLE swap(a INTEGER, b INTEGER);
INSERT INTO swap VALUES (1, 2), (2, 1), (3, 3);
CREATE TABLE tie(id INTEGER PRIMARY KEY, name TEXT, points INTEGER);
INSERT INTO tie VALUES (1, 'u', 9), (2, 'v', 9), (3, 'w', 7), (4, 'x', 5), (5, 'y', 7);
CREATE TABLE circle(a INTEGER, b INTEGER, c INTEGER, d INTEGER, e INTEGER, f INTEGER);
INSERT INTO circle VALUES
  (1, 1, 0, 0, 0, 0), (0, 1, 1, 0, 0, 0), (0, 0, 1, 1, 0, 0), (0, 0, 0, 1, 1, 0), (0, 0, 0, 0, 1, 1),
  (1, 0, 0, 0, 0, 1);
CREATE TABLE triangles(a INTEGER, b INTEGER, c INTEGER, d INTEGER, e INTEGER, f INTEGER);
INSERT INTO triangles VALUES
  (1, 1, 0, 0, 0, 0), (0, 1, 1, 0, 0, 0), (1, 0, 1, 0, 0, 0), (0, 0, 0, 1, 1, 0), (0, 0, 0, 0, 1, 1),
  (0, 0, 0, 1, 0, 1);
"""

DATABASES = {
    "school": (SCHOOL,),
    "shop": (SHOP, SHOP_1, SHOP_2),
    "odd": (ODD,),
    "wide": (WIDE,),
}


def build(folder: Path, name: str) -> tuple[Path, ...]:
    """Make a database's folder as Spider has it: NAME/NAME.sqlite, first of the paths, and its variants."""
    (folder / name).mkdir(parents=True)
    paths: list[Path] = []
    for number, sql in enumerate(DATABASES[name]):
        paths.append(folder / name / (f"{name}_{number}.sqlite" if number else f"{name}.sqlite"))
        with closing(sqlite3.connect(paths[-1])) as connection:
            connection.executescript(sql)
    return tuple(paths)
