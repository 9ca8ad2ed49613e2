"""The one reader of CSV and Parquet tables that people bring."""

from ctbench_core.tables.bytes import is_bomb, read_bytes, to_utf8
from ctbench_core.tables.numbers import BLANK, parse_numbers
from ctbench_core.tables.reader import read_header, read_table
