"""Programs that show what coinr does."""
