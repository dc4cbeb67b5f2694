"""What people and machines see of a run."""

import io
import json
import time

import pytest

from pipeline.console import Json, Live, Plain, Row, console_for, duration, size

EVENTS = [
    ("hit", "index", {"key": "a" * 64}),
    ("start", "cams", {"state": "resume", "key": "b" * 64, "reason": "an earlier run left 3"}),
    ("progress", "cams", {"done": 3, "total": 9, "unit": "photos"}),
    ("figures", "cams", {"figures": {"loss": 0.25}}),
    ("progress", "cams", {"done": 6, "total": 9, "unit": "photos"}),
    ("note", "cams", {"text": "photo [7] is odd"}),
    ("done", "cams", {"key": "b" * 64, "seconds": 71, "bytes": 4_500_000, "peak_memory_bytes": 9}),
    ("unheard of", "cams", {"x": 1}),
    ("closing", "", {"text": "mIoU 0.40, runs/demo/report/report.html"}),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(console: Plain) -> str:
    with console:
        for kind, stage, fields in EVENTS:
            console.event(kind, stage, **fields)
            time.sleep(0.002)
    stream = console.stream
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_plain_lines() -> None:
    text = _shown(Plain(io.StringIO()))
    lines = text.splitlines()
    assert lines[0].split() == ["index", "hit", "aaaaaaaa"]
    assert lines[1].split()[:3] == ["cams", "resume", "bbbbbbbb"]
    assert "1 min 11 s, 4.5 MB" in text
    assert "loss 0.25" in text
    assert "3/9" not in text  # progress is throttled
    assert lines[-1] == "mIoU 0.40, runs/demo/report/report.html"


def test_plain_progress_comes_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.console.PAUSE_SECONDS", 0.001)
    text = _shown(Plain(io.StringIO()))
    assert "6/9 photos, " in text
    assert " left" in text


def test_a_live_table() -> None:
    text = _shown(Live(Terminal()))
    assert "photo [7] is odd" in text
    assert "1 min 11 s, 4.5 MB" in text
    assert "loss 0.25" in text
    assert text.rstrip().endswith("mIoU 0.40, runs/demo/report/report.html")


def test_json_lines() -> None:
    events = [json.loads(line) for line in _shown(Json(io.StringIO())).splitlines()]
    assert [event["event"] for event in events] == [kind for kind, _, _ in EVENTS]
    assert events[2]["done"] == 3
    assert events[2]["stage"] == "cams"


def test_the_console_suits_the_stream() -> None:
    assert type(console_for(json_lines=False, stream=Terminal())) is Live
    assert type(console_for(json_lines=False, stream=io.StringIO())) is Plain
    assert type(console_for(json_lines=True, stream=Terminal())) is Json


def test_what_was_done_before_is_not_our_speed() -> None:
    row = Row("cams")
    row.advance(90, 100, "photos")
    assert row.speed() == "90/100 photos"
    row.began -= 10
    row.advance(95, 100, "photos")
    assert row.speed() == "95/100 photos, 0.5/s, 10 s left"


def test_units() -> None:
    assert [duration(s) for s in (4.24, 12, 200, 7500)] == [
        "4.2 s",
        "12 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert [size(n) for n in (312, 4_500, 2.5e9)] == ["312 B", "4.5 kB", "2.5 GB"]
