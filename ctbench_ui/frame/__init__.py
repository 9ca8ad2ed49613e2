"""What stands around every page: the status bar, the outline while a page loads, and read-only links."""
