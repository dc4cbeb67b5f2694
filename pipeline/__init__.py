"""The machinery: stages, keys, the store of artifacts, the runner and its command line."""
