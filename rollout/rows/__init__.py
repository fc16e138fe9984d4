"""Reads the rows of JSON and Parquet files, and their fields."""
