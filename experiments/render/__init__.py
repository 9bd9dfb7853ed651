"""What shows results: the terminal, tables, charts, and the pages of the documentation."""
