"""Progress of commands: silent while quick, a line now and then, a bar on a terminal."""

from io import StringIO

from stages.commands import progress
from stages.commands.progress import Bar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(stream: StringIO) -> Bar:
    bar = Bar()
    bar.stream = stream
    return bar


def test_a_quick_command_says_nothing_but_its_notes() -> None:
    stream = StringIO()
    with shown_on(stream) as bar:
        assert list(bar.track("abc", total=3, unit="photos")) == ["a", "b", "c"]
        bar.note("a note")
    assert stream.getvalue() == "a note\n"


def test_a_slow_one_tells_its_rate(monkeypatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.0)
    stream = StringIO()
    with shown_on(stream) as bar:
        bar.progress(1, 8, "photos")
        bar.progress(5, 8, "photos")
    first, second = stream.getvalue().splitlines()
    assert first == "1/8 photos"
    assert second.startswith("5/8 photos, ")


def test_the_next_work_has_a_rate_and_a_bar_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.0)
    stream = StringIO()
    with shown_on(stream) as bar:
        bar.progress(100, 100, "photos")
        bar.progress(2, 8, "masks")
        assert (bar.work, bar.first) == ((8, "masks"), 2)
    assert stream.getvalue().splitlines()[1] == "2/8 masks"
    terminal = Terminal()
    with shown_on(terminal) as bar:
        bar.progress(100, 100, "photos")
        bar.progress(8, 8, "masks")
    assert "masks" in terminal.getvalue()
    assert "8/8" in terminal.getvalue()


def test_a_terminal_shows_a_bar_and_keeps_notes() -> None:
    stream = Terminal()
    with shown_on(stream) as bar:
        bar.progress(2, 4, "photos")
        bar.note("skipped: [red]x.jpg")
        bar.progress(4, 4, "photos")
    shown = stream.getvalue()
    assert "photos" in shown
    assert "4/4" in shown
    assert "skipped: [red]x.jpg" in shown
    assert bar.shown is None
