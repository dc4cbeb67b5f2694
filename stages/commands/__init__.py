"""Commands beside the stages: one verb a file, each with `main(argv) -> exit status`."""
