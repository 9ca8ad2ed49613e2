"""The one reader of CSV and Parquet tables that people bring."""

from ctbench_core.tables.reader import read_table
