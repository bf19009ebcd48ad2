"""The command line, called inside the process."""

from tests.support.command_line import command

__all__ = ["command"]
