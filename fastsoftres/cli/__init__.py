"""The command line. Importing this package imports nothing of click, tqdm or matplotlib."""
