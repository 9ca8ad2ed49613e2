"""Charts, tables, controls, cached reads and messages that several pages share."""
