"""A run while it goes on, as people see it: its steps as its events tell, drawn in letters or in a notebook."""

from goalgraph.live.states import LiveRun, LiveStep
from goalgraph.live.view import RunProgress
from goalgraph.live.watching import followed, shown_until, watch

__all__ = ["LiveRun", "LiveStep", "RunProgress", "followed", "shown_until", "watch"]
