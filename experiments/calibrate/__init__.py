"""What measures the prices that the library's choices go by."""
