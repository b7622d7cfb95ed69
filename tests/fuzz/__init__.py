"""Every parser of foreign bytes, tried with damaged and hostile ones: `python -m tests.fuzz --help`."""
