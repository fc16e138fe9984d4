"""The report of runs that go on, served to a browser from the runs' own files."""
