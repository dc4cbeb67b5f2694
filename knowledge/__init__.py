"""What is known about classes before any photo: tables, text vectors, relations, the graph."""
