"""What the planner raises. A plan, a model or an action that is bad gives a result, not an exception.

PlannerError
├── RegistrationError (TypeError, ValueError)   a function, graph or tool cannot become an action
├── DuplicateAction (ValueError)                the name or version is taken
├── UnknownAction (KeyError, ValueError)        the catalog has no such action
├── InvalidRef (ValueError)                     not of the form kind:name@version
├── InvalidReference (ValueError)               text holds `${` that is no binding
├── InvalidPlan (ValueError)                    a plan did not pass validation, so it was not run
├── BindingError (ValueError)                   a value is not there, or does not fit where it is bound
├── MissingResource (LookupError)               an action asks for what the application did not provide
├── UnstorableOutput (TypeError)                an output is neither plain data nor has a codec
├── LimitExceeded (RuntimeError)                a bound of `Limits` was met
├── RunConflict (ValueError)                    a run id is used again with another plan, owner or inputs
├── SecretInPlan (ValueError)                   a plan says what is secret, so its run cannot be recorded
├── PlannerClosed (RuntimeError)                something is asked of a planner that was closed
├── RunNotFound (LookupError)                   there is no such run, or it is somebody else's
├── SessionNotFound (LookupError)               a session is not to be had: it is somebody else's
├── RunNotRecorded (RuntimeError)               the record of a run cannot be written, so it was not started
├── TooManyRuns (RuntimeError)                  a tenant, or everybody, has as many runs as are allowed
├── RunHeld (RuntimeError)                      another process advances the run
├── LeaseLost (RuntimeError)                    this process may advance the run no longer
├── MissingSecrets (LookupError)                a run needs inputs again that its record does not hold
├── CallbackTimeout (TimeoutError)              an `on_complete` of this process took too long
├── RunEnded (RuntimeError)                     what is asked makes sense for a live run only
├── RunCompensating (RuntimeError)              a run that is being undone is not stopped
├── RunNotEnded (RuntimeError)                  what is asked makes sense only once the run has ended
├── UnknownQuestion (KeyError, ValueError)      an answer is given to what a run does not ask
├── InvalidAnswer (ValueError)                  an answer is not what was asked for
├── NotEntitled (PermissionError)               somebody else has to answer
├── NotWaiting (ValueError)                     an answer is given to a run that asks nothing now
├── NobodyToAsk (RuntimeError)                  an action asks a person where no answer can be waited for
├── ApprovalRefused (RuntimeError)              a person did not agree to a step
├── AnswerTimeout (TimeoutError)                nobody answered by the deadline
├── UnknownQuickAction (KeyError, ValueError)   there is no quick action of this id, or nothing that does it
├── NotConfirmed (PermissionError)              a quick action needs the user's agreement first
├── RunFailed (RuntimeError)                    what `ExecutionResult.raise_for_failure()` raises
└── ModelError (RuntimeError)                   the language model gave no usable answer
    ├── ModelRefused                            it declined
    ├── ModelTruncated                          it stopped at the length limit
    └── ModelUnavailable                        it could not be reached, after retries
"""

from collections.abc import Sequence
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise


def closest(name: str, known: Sequence[str]) -> str:
    """Return up to three names that resemble `name`, as words for a message."""
    return ", ".join(close_names(name, known)) or "nothing similar"


def close_names(name: str, known: Sequence[str]) -> list[str]:
    """Return up to three names that resemble `name`, the most similar first."""
    if len(known) > 500:  # difflib takes 10 µs a name, which is long in a large catalog
        pairs = set(pairwise(name))
        known = nlargest(100, known, key=lambda other: len(pairs.intersection(pairwise(other))))
    return get_close_matches(name, known, n=3, cutoff=0.5)


class PlannerError(Exception):
    """Root of everything the planner raises on purpose."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # a KeyError in the bases would show the repr


class RegistrationError(PlannerError, TypeError, ValueError):
    """A function, graph or tool cannot become an action."""


class DuplicateAction(PlannerError, ValueError):
    """Another action already has this name or reference."""


class UnknownAction(PlannerError, KeyError, ValueError):
    """A plan or a caller names an action that the catalog does not have."""

    def __init__(self, action: str, known: Sequence[str]) -> None:
        super().__init__(action)
        self.action = action
        self.known = known

    def __str__(self) -> str:
        return f"unknown action {self.action!r}; closest: {closest(self.action, self.known)}"  # slow, so only when read


class InvalidRef(PlannerError, ValueError):
    """An action reference is not of the form kind:name@version."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"{ref!r} is not an action reference; write action:name@version or flow:name@version")
        self.ref = ref


class InvalidReference(PlannerError, ValueError):
    """A text holds `${` that does not begin a binding."""


class InvalidPlan(PlannerError, ValueError):
    """A plan did not pass validation, so it was not run."""


class BindingError(PlannerError, ValueError):
    """A bound value is not there, or does not fit the input it is bound to."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class MissingResource(PlannerError, LookupError):
    """An action asks for a resource that the application did not provide."""


class UnstorableOutput(PlannerError, TypeError):
    """An output is neither plain data nor of a type that has a codec."""


class LimitExceeded(PlannerError, RuntimeError):
    """A bound was met; the message names it and how to raise it."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(f"{message} (raise the limit {limit!r} to allow it)")
        self.limit = limit


class RunConflict(PlannerError, ValueError):
    """A run id was used again with another plan, by somebody else, or with other inputs."""

    @classmethod
    def taken(cls, run_id: str) -> "RunConflict":
        """Return what is said where the run is somebody else's: nothing of it."""
        return cls(f"run id {run_id!r} is taken; use a new one")


class SecretInPlan(PlannerError, ValueError):
    """The text of a secret input stands in the plan as well, where the record of a run would show it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the plan holds the text of the secret {name!r}; bind it as ${{user.{name}}} instead")
        self.name = name


class PlannerClosed(PlannerError, RuntimeError):
    """Something was asked of a planner that was closed; its runs are where they were."""

    def __init__(self) -> None:
        super().__init__("this planner was closed; open one again, its runs are still there")


class RunNotFound(PlannerError, LookupError):
    """There is no such run for whoever asks; of somebody else's run no more is said."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}")
        self.run_id = run_id


class SessionNotFound(PlannerError, LookupError):
    """A session is not to be had for whoever asks; of somebody else's no more is said."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"there is no session {session_id!r} for this user; open one under another id, or leave the id out"
        )
        self.session_id = session_id


class RunNotRecorded(PlannerError, RuntimeError):
    """The record of a run cannot be written, so nothing of the run was started."""

    def __init__(self, run_id: str, error: Exception) -> None:
        super().__init__(f"run {run_id!r} was not started, because its record cannot be written: {error}")
        self.run_id = run_id


class TooManyRuns(PlannerError, RuntimeError):
    """As many runs are live, or wait to be taken up, as the limits allow; nothing was started."""

    def __init__(self, limit: str, most: int, retry_after: float) -> None:
        super().__init__(
            f"there are {most:,} runs, as many as the limit {limit!r} allows; try again in about {retry_after:g} s"
        )
        self.limit = limit
        self.retry_after = retry_after
        """Seconds."""


class RunHeld(PlannerError, RuntimeError):
    """Another process advances the run; it is no failure of the run."""

    def __init__(self, run_id: str, holder: str, seconds: float) -> None:
        super().__init__(f"run {run_id!r} is advanced by {holder}, whose lease runs {seconds:.1f} s more")
        self.run_id = run_id
        self.holder = holder
        self.seconds = seconds
        """Until the lease runs out, if it is not renewed."""


class LeaseLost(PlannerError, RuntimeError):
    """The lease of this process ran out, or another one has it; nothing more was recorded."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is advanced elsewhere by now, or will be: its lease could not be renewed")
        self.run_id = run_id


class MissingSecrets(PlannerError, LookupError):
    """A run was given secrets, or what is no data, and neither is in its record."""

    def __init__(self, run_id: str, names: Sequence[str]) -> None:
        super().__init__(
            f"run {run_id!r} was given {', '.join(names)}, which its record does not hold; give it again as a user "
            "input, or open the planner with secrets="
        )
        self.run_id = run_id
        self.names = list(names)


class CallbackTimeout(PlannerError, TimeoutError):
    """An `on_complete` took longer than the limit `callback_timeout`; the run is as it was."""


class RunEnded(PlannerError, RuntimeError):
    """The run has ended, so it cannot be cancelled, answered or resumed."""

    def __init__(self, run_id: str, status: str) -> None:
        more = "it can be run again" if status == "succeeded" else "it can be retried, or run again"
        super().__init__(f"run {run_id!r} has ended ({status}); {more}")
        self.run_id = run_id
        self.status = status


class RunCompensating(PlannerError, RuntimeError):
    """The run has failed or was cancelled, and what it had done is being undone; that is not stopped half-way."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is ending: what it had done is being undone, which is not stopped half-way")
        self.run_id = run_id


class RunNotEnded(PlannerError, RuntimeError):
    """The run is live, so it cannot be retried."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"run {run_id!r} has not ended ({status}); cancel it first, or wait")
        self.run_id = run_id


class UnknownQuestion(PlannerError, KeyError, ValueError):
    """An answer was given to a question that the run does not ask."""

    def __init__(self, question: str, asked: Sequence[str]) -> None:
        told = f"asks nothing under the id {question!r}" if question else "asks several things, and none was named"
        super().__init__(f"the run {told}; it asks {', '.join(asked) or 'nothing'}")
        self.question = question


class InvalidAnswer(PlannerError, ValueError):
    """An answer does not fit what was asked for; it was not taken, so another can be given."""

    def __init__(self, question: str, reason: str) -> None:
        super().__init__(f"the answer to {question!r} does not fit: {reason}")
        self.question = question


class NotEntitled(PlannerError, PermissionError):
    """A question was answered by somebody whom it does not ask."""

    def __init__(self, question: str, roles: Sequence[str] = ()) -> None:
        whom = f"somebody with the role {' or '.join(roles)}" if roles else "the owner of the run"
        super().__init__(f"the question {question!r} is for {whom}")
        self.question = question
        self.roles = tuple(roles)


class NotWaiting(PlannerError, ValueError):
    """An answer was given to a run that does not wait for one."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"run {run_id!r} takes no such answer now ({status})")
        self.run_id = run_id
        self.status = status


class NobodyToAsk(PlannerError, RuntimeError):
    """An action asks a person, and what calls it cannot wait for the answer."""


class ApprovalRefused(PlannerError, RuntimeError):
    """A person did not agree to a step, or did not answer in time; the message is the reason that was given."""


class AnswerTimeout(PlannerError, TimeoutError):
    """Nobody answered by the deadline, and nothing was said to count instead."""


class UnknownQuickAction(PlannerError, KeyError, ValueError):
    """There is no quick action of this id, or nothing that does it."""

    def __init__(self, action_id: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no quick action {action_id!r}; closest: {closest(action_id, known)}")
        self.action_id = action_id


class NotConfirmed(PlannerError, PermissionError):
    """A quick action needs the user's agreement first; it was not done."""

    def __init__(self, action_id: str) -> None:
        super().__init__(f"the quick action {action_id!r} was not done: ask the user first, then run it confirmed=True")
        self.action_id = action_id


class RunFailed(PlannerError, RuntimeError):
    """A run did not succeed."""


class ModelError(PlannerError, RuntimeError):
    """The language model gave no usable answer."""


class ModelRefused(ModelError):
    """The model declined to answer."""


class ModelTruncated(ModelError):
    """The model's answer was cut off at the length limit."""


class ModelUnavailable(ModelError):
    """The model could not be reached, after retries."""
