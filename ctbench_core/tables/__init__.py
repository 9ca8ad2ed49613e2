"""The one reader of CSV and Parquet tables that people bring, and the one writer of CSV that they take away."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.tables.bytes import read_bytes, to_utf8
    from ctbench_core.tables.limits import refusal
    from ctbench_core.tables.numbers import BLANK, parse_numbers
    from ctbench_core.tables.parquet import repeated_size, unpacked_size
    from ctbench_core.tables.reader import read_header, read_table
    from ctbench_core.tables.sheet import sheet_bytes, unguarded, write_sheet

load_on_use(__name__)
