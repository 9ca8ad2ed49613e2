"""The frame of every page: status bar, outline while a page loads, read-only links."""
