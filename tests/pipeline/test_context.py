from pipeline.context import Context


def test_ranks_share_the_items_without_overlap() -> None:
    items = list(range(7))
    shares = [Context(rank=rank, world=3).mine(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items
