"""The experiments that rerun those of the four papers, a folder for each paper."""
