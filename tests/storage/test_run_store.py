"""What every `RunStore` does: who may advance a run, and what only they write."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from storage.errors import Fenced
from storage.records import CheckpointKey, CheckpointRecord, Value
from storage.runs import Ended, Granted, Load, Released, Update
from tests.support.run_stores import AT, LONG, OTHER, RUN_STORES, RunPlace, ending, events, new_run, told, writing

RUNNING = frozenset({"running"})


@pytest.fixture(params=RUN_STORES)
async def place(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RunPlace]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with RUN_STORES[request.param](request) as opened:
        yield opened


async def test_a_new_run_belongs_to_whoever_created_it(place: RunPlace) -> None:
    """And is a document like any other."""
    new = new_run(fields={"plan": Value("t", b"p")}, increments={"attempt": 1})

    granted = await place.granted(new=new)

    assert (granted.new, granted.seq, granted.crashes, granted.cancelled, granted.spent) == (True, 0, 0, False, b"")
    assert told(granted.state) == (1, new.fields, new.columns, {"attempt": 1.0})
    assert granted.state == await place.records.latest("run", "r")
    assert granted.token > AT.timestamp() * 1000
    assert [owner async for owner in place.records.owners("run")] == ["r"]
    assert await place.runs.due() == []


async def test_what_is_there_is_not_changed_by_creating_it_again(place: RunPlace) -> None:
    await place.granted(claim=None, new=new_run(), calls=["hook"])

    granted = await place.granted(new=new_run(columns={"x": "1"}), calls=["hook"])

    assert (granted.new, granted.state.seq, "x" in granted.state.columns) == (False, 1, False)
    await place.runs.update("r", granted.token, Update(**ending(), then=Ended()))
    assert len(await place.runs.claim(9, 60)) == 1


async def test_a_run_without_a_claim_waits_for_somebody(place: RunPlace) -> None:
    """At once, or later."""
    assert (await place.granted("a", None, new=new_run("a"))).token == 0
    assert (await place.granted("b", None, new=new_run("b"), due_in=1000)).new
    assert await place.runs.due() == ["a"]

    await place.granted("b", None)

    assert await place.runs.due() == ["a", "b"]
    assert await place.runs.due(1000, 1000) == []
    assert (await place.granted("a")).token > 0
    assert await place.runs.due() == ["b"]


async def test_due_runs_are_named_page_by_page(place: RunPlace) -> None:
    """Those of one partition; the longest due are on the first."""
    for at in range(5):
        await place.granted(f"{{same}}{at}", None, new=new_run(f"{{same}}{at}"))

    pages = [await place.runs.due(2, skip) for skip in (0, 2, 4, 6)]

    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert sorted(run_id for page in pages for run_id in page) == sorted(await place.runs.due())


async def test_a_run_that_cannot_be_taken_up_says_why(place: RunPlace) -> None:
    assert (await place.refused()).why == "missing"
    granted = await place.granted(new=new_run())
    held = await place.refused()
    assert (held.why, held.holder, held.state) == ("held", "one", granted.state)
    assert 900 < held.seconds <= 1000
    assert (await place.refused(expect={"status": "pending", "org_id": "another"})).why == "other"
    assert (await place.refused(expect={"status": "pending"})).why == "held"
    assert (await place.refused(expect={"status": "pending", "later": "x"})).why == "held"  # of an older version

    await place.runs.update("r", granted.token, Update(**ending(), then=Ended()))

    ended = await place.refused(new=new_run())
    assert (ended.why, ended.state) == ("ended", await place.records.latest("run", "r"))
    assert (await place.refused(claim=None)).why == "ended"


async def test_of_a_hundred_who_claim_a_run_one_has_it(place: RunPlace) -> None:
    answers = await asyncio.gather(*(place.runs.enter("r", LONG, new=new_run()) for _ in range(100)))

    assert sum(isinstance(answer, Granted) for answer in answers) == 1
    assert {answer.why for answer in answers if not isinstance(answer, Granted)} == {"held"}


async def test_tokens_rise_and_leases_that_run_out_are_crashes(place: RunPlace) -> None:
    """Until somebody makes progress."""
    tokens = [(await place.granted(new=new_run())).token]
    for crashes in (1, 2):
        await place.run_out("r")
        assert await place.runs.due() == ["r"]
        granted = await place.granted()
        tokens.append(granted.token)
        assert granted.crashes == crashes
    assert tokens == sorted(set(tokens))

    await place.runs.update("r", tokens[-1], Update(progress=True))
    await place.run_out("r")

    assert (await place.granted()).crashes == 1


async def test_who_gives_back_late_has_not_crashed(place: RunPlace) -> None:
    """However often they say so."""
    late = (await place.granted(new=new_run())).token
    await place.run_out("r")
    second = await place.granted()

    for _ in range(2):
        await place.runs.update("r", late, Update(then=Released(0.0)))
    await place.run_out("r")

    assert (second.crashes, (await place.granted()).crashes) == (1, 1)


async def test_an_update_writes_the_document_and_the_log(place: RunPlace) -> None:
    token = (await place.granted(new=new_run(increments={"n": 5}))).token
    change = new_run(status="running", fields={"x": Value("t", b"1")})

    seq = await place.runs.update("r", token, writing("r", "a", "b", change=change, counters={"n": 2.5}, keep=b"\0k"))

    assert seq == 2
    assert told(await place.records.latest("run", "r")) == (2, change.fields, change.columns, {"n": 2.5})
    entries = await place.records.read("event", "r")
    assert [(one.seq, one.columns["type"]) for one in entries] == [(1, "a"), (2, "b")]
    await place.runs.update("r", token, Update(then=Released(None)))
    again = await place.granted()
    assert (again.spent, again.seq, again.crashes) == (b"\0k", 2, 0)


async def test_a_repeated_update_changes_nothing(place: RunPlace) -> None:
    token = (await place.granted(new=new_run())).token
    update = writing("r", "a", "b", change=new_run(status="running"))

    assert [await place.runs.update("r", token, update) for _ in range(2)] == [2, 2]
    last = Update(**ending(after=2), then=Ended())
    assert [await place.runs.update("r", token, last) for _ in range(2)] == [3, 3]

    state = await place.records.latest("run", "r")
    assert (state and state.seq, len(await place.records.read("event", "r"))) == (3, 3)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"]], ids=["nothing", "one event"])
async def test_what_the_log_has_already_is_left_out_when_a_run_is_given_back(place: RunPlace, names: list[str]) -> None:
    """The answer to the first events was lost, and their writer gives the run back with what has come since."""
    token = (await place.granted(new=new_run())).token
    await place.runs.update("r", token, writing("r", "a", "b"))

    back = writing("r", *names, change=new_run(status="waiting"), keep=b"k", then=Released(0.0))
    assert await place.runs.update("r", token, back) == len(names)

    assert [entry.columns["type"] for entry in await place.records.read("event", "r")] == names
    assert await place.runs.due() == ["r"]
    granted = await place.granted("r", OTHER)
    assert (granted.crashes, granted.spent, granted.state.columns["status"]) == (0, b"k", "waiting")


async def test_who_lost_a_run_writes_nothing(place: RunPlace) -> None:
    """Also when the log is as far as a repetition would find it; with nothing to write they are let go."""
    old = (await place.granted(new=new_run())).token
    await place.run_out("r")
    new = (await place.granted()).token
    await place.runs.update("r", new, writing("r", "a"))

    for update in (writing("r", "a"), Update(change=new_run()), Update(then=Ended())):
        with pytest.raises(Fenced) as refused:
            await place.runs.update("r", old, update)
        assert (refused.value.token, refused.value.newest) == (old, new)
    await place.runs.update("r", old, Update())
    await place.runs.update("r", new, Update(**ending(after=1), then=Ended()))
    for token in (old, new):
        with pytest.raises(Fenced):
            await place.runs.update("r", token, writing("r", "late", after=2))
    await place.runs.update("r", new, Update(then=Released(0.0)))
    assert (await place.runs.due(), (await place.runs.load("acme")).all) == ([], 0)


async def test_who_gave_a_run_back_writes_no_more(place: RunPlace) -> None:
    """And giving it back again changes nothing."""
    token = (await place.granted(new=new_run())).token
    back = Update(change=new_run(status="waiting"), then=Released(None))
    for _ in range(2):
        await place.runs.update("r", token, back)

    for update in (writing("r", "a"), Update(**ending(), then=Ended())):
        with pytest.raises(Fenced):
            await place.runs.update("r", token, update)
    assert (await place.granted()).state.seq == 2


async def test_older_writers_of_the_thread_are_refused_at_once(place: RunPlace) -> None:
    """The fence rises with the claim, not with the first checkpoint."""
    old = (await place.granted(new=new_run())).token
    await place.run_out("r")
    token = (await place.granted()).token
    body = Value("t", b"")
    record = CheckpointRecord(key=CheckpointKey("r", "", "1"), parent_id=None, body=body, metadata=body)

    with pytest.raises(Fenced):
        await place.checkpoints.put(record, [], fence=old)
    await place.checkpoints.put(record, [], fence=token)

    stored = await place.checkpoints.get("r", "")
    assert stored is not None
    assert stored.record == record


async def test_leases_are_prolonged_while_they_are_held(place: RunPlace) -> None:
    """A late holder keeps what nobody took, and a released run is not held any more."""
    one, two = [(await place.granted(name, new=new_run(name))).token for name in ("a", "b")]
    await place.run_out("a")
    await place.runs.cancel("b", change=new_run("b"), events=[])

    held = await place.runs.renew({"a": one, "b": two, "c": 1}, 500)

    assert held == {"a": "held", "b": "cancelled", "c": "lost"}
    assert 400 < (await place.refused("a")).seconds <= 500
    await place.runs.update("a", one, Update(then=Released(None)))
    assert await place.runs.renew({"a": one, "b": two + 1}, 500) == {"a": "lost", "b": "lost"}
    assert await place.runs.renew({}, 500) == {}


async def test_a_released_run_is_due_when_it_should_be(place: RunPlace) -> None:
    async def released(due_in: float | None, heard: int = 0) -> bool:
        token = (await place.granted(new=new_run(status="running"))).token
        await place.runs.update("r", token, Update(then=Released(due_in, heard)))
        return await place.runs.due() == ["r"]

    assert not await released(None)
    assert not await released(1000)
    assert await released(0.0)
    granted = await place.granted()
    assert await place.runs.tell("r", "answer", Value("t", b"1"), at_most=RUNNING)
    assert await place.runs.due() == []
    await place.runs.update("r", granted.token, Update(then=Released(None, granted.told)))
    assert await place.runs.due() == ["r"]
    assert not await released(None, 1)
    token = (await place.granted()).token
    assert (await place.refused(claim=None)).why == "held"
    assert await place.runs.due() == []
    await place.runs.update("r", token, Update(then=Released(900)))
    assert await place.runs.due() == ["r"]


async def test_a_cancelled_run_that_nobody_began_has_ended(place: RunPlace) -> None:
    await place.granted(claim=None, new=new_run(), calls=["hook"])

    change, log = new_run(status="cancelled"), events("r", "cancelled")
    assert await place.runs.cancel("r", change=change, events=log) == "ended"

    state = await place.records.latest("run", "r")
    assert (state and state.columns["status"], len(await place.records.read("event", "r"))) == ("cancelled", 1)
    assert [call.target for call in await place.runs.claim(9, 60)] == ["hook"]
    assert (await place.runs.due(), await place.runs.load("acme")) == ([], Load(tenant=0, all=0, due=0))
    assert await place.runs.cancel("r", change=change, events=log) == "over"
    assert await place.runs.cancel("none", change=new_run("none"), events=[]) == "over"


async def test_a_cancelled_run_that_somebody_began_hears_of_it(place: RunPlace) -> None:
    """From whoever holds it, or when it is taken up."""
    token = (await place.granted(new=new_run())).token
    assert await place.runs.cancel("r", change=new_run(status="cancelled"), events=[]) == "asked"
    assert await place.runs.due() == []

    await place.runs.update("r", token, Update(then=Released(None)))

    assert await place.runs.due() == ["r"]
    granted = await place.granted()
    assert (granted.cancelled, granted.state.columns["status"]) == (True, "pending")


async def test_the_first_answer_counts_and_makes_a_run_due(place: RunPlace) -> None:
    token = (await place.granted(new=new_run())).token
    answer, late = Value("t", b"\0yes"), Value("t", b"no")
    assert not await place.runs.tell("r", "q", answer, at_most=RUNNING)
    change = new_run(status="running")
    await place.runs.update("r", token, Update(change=change, then=Released(None)))

    told_so = [await place.runs.tell("r", "q", value, at_most=RUNNING) for value in (answer, late, answer)]

    assert told_so == [True, False, False]
    assert await place.runs.due() == ["r"]
    granted = await place.granted()
    assert (granted.told, granted.state.seq, dict(granted.state.fields)) == (1, 3, {"q": answer})
    await place.runs.update("r", granted.token, Update(**ending(), then=Ended()))
    assert not await place.runs.tell("r", "p", answer, at_most=frozenset({"succeeded"}))
    assert not await place.runs.tell("none", "p", answer, at_most=RUNNING)


async def test_of_two_who_answer_one_is_heard(place: RunPlace) -> None:
    await place.granted(claim=None, new=new_run(status="running"))

    heard = await asyncio.gather(
        *(place.runs.tell("r", "q", Value("t", str(n).encode()), at_most=RUNNING) for n in range(20))
    )

    assert sum(heard) == 1


async def test_live_runs_are_counted_by_tenant(place: RunPlace) -> None:
    for name, tenant in (("a", "acme"), ("b", "acme"), ("c", "other")):
        await place.granted(name, None, new=new_run(name, tenant=tenant))
    assert await place.runs.load("acme") == Load(tenant=2, all=3, due=3)
    assert (await place.runs.load("none")).tenant == 0

    token = (await place.granted("a")).token
    await place.runs.update("a", token, Update(**ending(run_id="a"), then=Ended()))
    assert await place.runs.load("acme") == Load(tenant=1, all=2, due=2)

    await place.records.delete("run", "b")
    assert await place.runs.load("acme") == Load(tenant=0, all=1, due=1)
    assert (await place.refused("b")).why == "missing"


async def test_a_deleted_run_is_lost_to_its_holder(place: RunPlace) -> None:
    token = (await place.granted(new=new_run())).token
    await place.records.delete("run", "r")

    assert await place.runs.renew({"r": token}, 10) == {"r": "lost"}
    with pytest.raises(Fenced):
        await place.runs.update("r", token, writing("r", "a"))
    assert await place.runs.due() == []
    again = await place.granted(new=new_run())
    assert again.new
    assert again.token > token


async def test_runs_are_named_the_longest_due_first_and_put_off_once(place: RunPlace) -> None:
    for name in ("a", "b", "c"):
        await place.granted(name, new=new_run(name))
    for name in ("b", "a"):
        await place.run_out(name)
    assert set(await place.runs.due()) == {"a", "b"}

    assert [await place.runs.defer("a", 100) for _ in range(2)] == [True, False]

    assert await place.runs.due() == ["b"]
    assert not await place.runs.defer("c", 0)
    assert not await place.runs.defer("none", 0)
    assert (await place.granted("a", OTHER)).crashes == 1


async def test_a_run_that_has_ended_can_begin_again(place: RunPlace) -> None:
    """With the calls of this time, whose ids are new."""
    token = (await place.granted(new=new_run(fields={"x": Value("t", b"1")}), calls=["hook"])).token
    await place.runs.update("r", token, Update(**ending("failed"), then=Ended()))
    (first,) = await place.runs.claim(9, 60)

    again = await place.granted(new=new_run(status="pending"), calls=["hook"], again=True)

    assert (again.new, again.crashes, again.seq, again.state.seq) == (False, 0, 1, 3)
    assert again.token > token
    assert again.state.fields == {"x": Value("t", b"1")}
    assert (await place.runs.load("acme")).tenant == 1
    await place.runs.update("r", again.token, Update(**ending(after=1), then=Ended()))
    (second,) = await place.runs.claim(9, 60)
    assert (second.target, second.run_id) == ("hook", "r")
    assert second.id != first.id


async def test_a_live_run_that_nobody_knows_of_is_taken_up(place: RunPlace) -> None:
    """The store lost who advances it, or an older version wrote it."""
    await place.granted("a", new=new_run("a"))
    await place.lose_control("a")
    assert [await place.runs.make_due("a") for _ in range(2)] == [True, False]
    assert await place.runs.due() == ["a"]
    assert await place.runs.load("acme") == Load(tenant=1, all=1, due=1)

    await place.lose_control("a")
    assert await place.runs.cancel("a", change=new_run("a"), events=[]) == "asked"
    assert (await place.granted("a")).cancelled


async def test_callbacks_are_delivered_repeated_given_up_and_replayed(place: RunPlace) -> None:
    runs = place.runs
    token = (await place.granted(new=new_run(), calls=["one"])).token
    assert await runs.add("r", "two") == "live"
    assert await runs.claim(9, 60) == []
    await runs.update("r", token, Update(**ending(), then=Ended()))
    assert await runs.add("r", "three") == "due"

    some = [*await runs.claim(2, 60), *await runs.claim(9, 60)]
    one, two, three = sorted(some, key=lambda call: ["one", "two", "three"].index(call.target))
    assert (one.id, one.run_id, one.attempts, len({call.id for call in some})) == ("r:1", "r", 0, 3)
    assert await runs.claim(9, 60) == []
    await runs.settle(one)
    await runs.settle(two, retry_in=0.0, error="refused")
    await runs.settle(three, dead=True, error="gone")

    (again,) = await runs.claim(9, 0.0)
    assert (again.id, again.attempts, again.error) == (two.id, 1, "refused")
    assert await runs.claim(9, 60) == [again]
    await runs.settle(again)
    await runs.settle(again, retry_in=0.0)
    assert [(call.id, call.attempts, call.error) for call in await runs.dead()] == [(three.id, 1, "gone")]
    assert [await runs.replay(three.id), await runs.replay(one.id)] == [True, False]
    assert await runs.claim(9, 60) == [three]
    assert await runs.dead() == []
