"""The operators one by one: work skipped, time saved, where trimming pays."""
