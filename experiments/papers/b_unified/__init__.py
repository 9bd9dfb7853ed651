"""Paper B, arXiv 2502.20493: unified kernel segregation."""
