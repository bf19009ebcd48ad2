"""Everything that users need is imported from `goalgraph`."""

import goalgraph
from planner import dialogue


def test_each_public_name_is_there_and_found_by_dir() -> None:
    """They are loaded when they are first used, so a wrong place would be noticed only then."""
    assert all(getattr(goalgraph, name) is not None for name in goalgraph.__all__)
    assert set(goalgraph.__all__) <= set(dir(goalgraph))


def test_the_names_of_conversations_are_among_them() -> None:
    assert set(dialogue.__all__) <= set(goalgraph.__all__)
