"""What several pages share: charts, tables, style, cached reads, and messages."""
