"""The queue of `DramatiqEngine`: ids of runs in a Redis, which neither a bad message nor a bad answer can stop."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self, cast

from dramatiq import Consumer, DecodeError, Message, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

logger = logging.getLogger("goalgraph")

QUEUE, ACTOR = "runs", "advance"
ANSWER = 5.0
"""Seconds that Redis has for connecting and for each answer."""


class RunQueue(RedisBroker):
    """A broker of dramatiq that is nobody else's: without its middleware, and not the global one."""

    @classmethod
    def at(cls, url: str, *, namespace: str) -> Self:
        """Return the queue in the Redis database of `url`; nothing is connected yet.

        Raises:
            ValueError: the URL is none.
        """
        options: dict[str, Any] = {"socket_timeout": ANSWER, "socket_connect_timeout": ANSWER}
        client = cast("Any", _Client).from_url(url, retry=Retry(NoBackoff(), 0), **options)
        return cls(
            client=client,
            namespace=namespace,
            middleware=[],
            maintenance_chance=1_000_000,  # otherwise a quiet queue does not bring back what a dead worker held
            heartbeat_timeout=60_000,
        )

    def send(self, run_id: str, delay: float) -> None:
        """Put a run into the queue, to be read in `delay` seconds.

        Raises:
            RedisError: it cannot be reached.
        """
        message = Message[None](queue_name=QUEUE, actor_name=ACTOR, args=(run_id,), kwargs={}, options={})
        cast("Any", self).enqueue(message, delay=round(1000 * delay) if delay > 0 else None)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Read a queue with care: whoever can write to it must not be able to stop those who read it."""
        return _Careful(super().consume(queue_name, prefetch, timeout), queue_name)

    def close(self) -> None:
        """Disconnect."""
        cast("Any", self).client.close()


class _Client(Redis):
    """Dramatiq goes on after a lost connection, and only after that; so whatever else goes wrong becomes one."""

    away = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            answer = cast("Any", super()).execute_command(*args, **options)
        except NoScriptError:
            raise
        except RedisError as error:
            if not self.away:
                logger.warning("the queue is away, so that runs are found by looking for them: %s", error)
            self.away = True
            raise RedisConnectionError(str(error)) from error
        if self.away:
            self.away = False
            logger.warning("the queue is there again")
        return answer


class _Careful(Consumer):
    """Passes on what is a message of ours, made anew from its two facts: the id of a run, and when it is due."""

    def __init__(self, consumer: Consumer, queue_name: str) -> None:
        self._consumer = consumer
        self._queue_name = queue_name

    def ack(self, message: MessageProxy) -> None:
        self._consumer.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self._consumer.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        with suppress(RedisError):  # it would end the thread that reads the queue
            self._consumer.requeue(messages)

    def close(self) -> None:
        self._consumer.close()

    def __next__(self) -> MessageProxy | None:
        try:
            message = next(self._consumer)
        except (DecodeError, TypeError) as error:
            logger.warning("the queue holds what is no message: %s", error)
            return None
        return None if message is None else self._checked(message)

    def _checked(self, message: MessageProxy) -> MessageProxy | None:
        """Return the message without what is not ours; one that is none is set aside for a week."""
        options = message.options if isinstance(cast("object", message.options), dict) else {}
        key = options.get("redis_message_id")
        if not isinstance(key, str):
            logger.warning("the queue holds a message without an id")
            return None
        match message.args:
            case (str(run_id),) if message.actor_name == ACTOR and message.queue_name == self._queue_name:
                eta = options.get("eta")
                kept = {"redis_message_id": key} | ({"eta": eta} if isinstance(eta, int) else {})
                ours = Message[None](
                    queue_name=self._queue_name,
                    actor_name=ACTOR,
                    args=(run_id,),
                    kwargs={},
                    options=kept,
                    message_id=message.message_id,
                )
                return MessageProxy(ours)
            case _:
                logger.warning("the queue holds a message that is none of ours")
                self._consumer.nack(message)
                return None
