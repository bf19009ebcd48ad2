"""`python -m tests.chaos.forking '{…}'`: a `run_worker` that is forked anew at once whenever it has died.

Nothing has to be imported again, so whoever kills its process is back in milliseconds.
"""

import json
import os
import sys
import threading

from tests.chaos.run_worker import main


def live(arguments: str, parent: int) -> None:
    """Be a worker for as long as the other end of the pipe `parent` is open."""

    def end_with_parent() -> None:
        os.read(parent, 1)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(arguments))


if __name__ == "__main__":
    reading, writing = os.pipe()
    while True:
        child = os.fork()
        if child == 0:
            os.close(writing)
            live(sys.argv[1], reading)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
