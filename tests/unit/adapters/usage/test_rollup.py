"""Facts are added up by hour and by whom, whatever callers say they are."""

from collections.abc import Iterable

from msgspec.structs import replace

from isthmus.adapters.usage.labels import LABEL_LIMIT_CHARS, Allowance
from isthmus.adapters.usage.rollup import BATCH_ROWS, Rollup, Told, rows_of
from isthmus.core.events import Fact, Started, SuggestionAsked, SuggestionJudged
from isthmus.core.identity import Who
from isthmus.core.messages import Usage
from isthmus.core.usage import BUCKETS, OTHER, SUMS, Tally, UsageKey, UsageRow, bucket
from tests.unit.adapters.telemetry.facts import CALLED

HOUR = 490_000
AT_S = HOUR * 3_600.0
WHO = Who("instance-1", "7", "user-1", "token-1", "self-managed")
CALL = replace(
    CALLED,
    duration_s=0.75,
    first_byte_s=0.25,
    usage=Usage(120, 30, 100, 10, 7),
    who=WHO,
    deployment="anthropic/eu",
    cost=450,
)
JUDGED = SuggestionJudged("accepted", "call-1", "python", "claude", "code_completions", WHO)


def told(*facts: Fact, at_s: float = AT_S, request_id: str = "r") -> list[Told]:
    return [(at_s, request_id, fact) for fact in facts]


def rows(*batches: Iterable[Told], rollup: Rollup | None = None) -> tuple[UsageRow, ...]:
    rollup = rollup or Rollup()
    for batch in batches:
        rollup.take(list(batch))
    return rows_of(rollup.cut())


def histogram(*durations_ms: float) -> tuple[int, ...]:
    counts = [0] * BUCKETS
    for duration_ms in durations_ms:
        counts[bucket(duration_ms)] += 1
    return tuple(counts)


def test_a_call_is_counted_with_all_that_it_used() -> None:
    (row,) = rows(told(Started("http", "", 1.0), SuggestionAsked("python", "py", "py"), CALL))
    labels = {"feature": "code_completions", "model": "claude", "provider": "anthropic"}
    assert row == UsageRow(
        UsageKey(
            *(HOUR, "instance-1", "7", "user-1", "token-1"),
            **labels,
            deployment="anthropic/eu",
            language="python",
            outcome="ok",
        ),
        Tally(1, 0, 120, 30, 100, 10, 7, 450, 0, 750_000, 1, 250_000, latency=histogram(750)),
    )


def test_calls_of_one_kind_share_a_row() -> None:
    quick = replace(CALL, duration_s=0.01, first_byte_s=0.0, usage=None, cost=None)
    (row,) = rows(told(CALL), told(CALL, quick, at_s=AT_S + 3_599.9))
    latency = histogram(750, 750, 10)
    sums = (3, 0, 240, 60, 200, 20, 14, 900, 1, 1_510_000, 2, 500_000)
    assert row.tally == Tally(*sums, latency=latency)


def test_every_difference_is_a_row_of_its_own() -> None:
    others = [
        replace(CALL, **{name: "x"})
        for name in ("feature", "model", "provider", "deployment", "error")
    ]
    others += [replace(CALL, finish="cancelled")]
    others += [
        replace(CALL, who=replace(WHO, **{name: "x"}))
        for name in ("instance", "namespace", "user", "token")
    ]
    found = rows(told(CALL, *others), told(CALL, at_s=AT_S + 3_600))
    assert len(found) == len(others) + 2
    assert {row.tally.requests for row in found} == {1}
    outcomes = sorted(row.key.outcome for row in found if row.key.outcome != "ok")
    assert outcomes == ["cancelled", "x"]
    assert [row.tally.errors for row in found if row.key.outcome == "x"] == [1]


def test_calls_know_the_language_of_their_request_alone() -> None:
    asked = told(SuggestionAsked("go", "go", "go"), request_id="a")
    found = rows(
        asked,
        told(CALL, replace(CALL, feature="chat"), request_id="a"),
        told(CALL, request_id="b"),
    )
    languages = {(row.key.feature, row.key.language): row.tally.requests for row in found}
    assert languages == {
        ("code_completions", "go"): 1,
        ("chat", ""): 1,
        ("code_completions", ""): 1,
    }


def test_a_request_has_no_price_only_if_it_may_have_cost_something() -> None:
    failed = replace(CALL, cost=None, usage=None, error="other")
    found = rows(told(failed, replace(failed, error="none"), replace(failed, usage=Usage(9, 9))))
    unpriced = {row.key.outcome: (row.tally.requests, row.tally.unpriced) for row in found}
    assert unpriced == {"other": (2, 1), "ok": (1, 1)}


def test_verdicts_are_counted_by_language_and_model() -> None:
    several = replace(JUDGED, verdict="shown", count=40)
    unheard = replace(JUDGED, verdict="praised")
    facts = (replace(JUDGED, verdict="rejected"), replace(JUDGED, verdict="failed", count=3))
    (row,) = rows(told(JUDGED, several, unheard, *facts))
    assert (row.key.language, row.key.model, row.key.outcome) == ("python", "claude", "judged")
    assert row.tally == Tally(shown=40, accepted=1, rejected=1, failed=3)
    assert row.tally.acceptance == 1 / 40


def test_tokens_are_told_apart_only_where_that_is_wanted() -> None:
    other = replace(CALL, who=replace(WHO, token="token-2"))
    (row,) = rows(told(CALL, other), rollup=Rollup(tokens=False))
    assert (row.key.token, row.tally.requests) == ("", 2)


def test_ten_thousand_users_of_an_hour_are_ten_thousand_rows() -> None:
    calls = (replace(CALL, who=replace(WHO, user=f"u{index}")) for index in range(10_000))
    found = rows(told(*calls))
    assert len(found) == len({row.key.user for row in found}) == 10_000


def test_a_flood_of_labels_grows_nothing_and_loses_no_count() -> None:
    rollup = Rollup(allowance=Allowance(rows_limit=500))
    for start in range(0, 60_000, 100):
        flood = [
            replace(
                JUDGED,
                language=f"l{index}",
                model=f"m{index}",
                who=Who(*(f"{name}{index}" for name in "inut")),
            )
            for index in range(start, start + 100)
        ]
        rollup.take(told(*flood))
    found = rows_of(rollup.cut())
    assert len(found) <= 501
    assert sum(row.tally.accepted for row in found) == 60_000
    (rest,) = [row for row in found if row.key.user == OTHER]
    assert (rest.key.model, rest.key.language, rest.key.feature) == (OTHER, OTHER, JUDGED.feature)
    # The next hour has an allowance of its own.
    rollup.take(told(replace(JUDGED, language="new"), at_s=AT_S + 3_600))
    assert [row.key.language for row in rows_of(rollup.cut())] == ["new"]


def test_no_dimension_takes_more_values_than_it_may_have() -> None:
    floods = [
        [replace(JUDGED, language=f"l{index}") for index in range(2_000)],
        [replace(JUDGED, model=f"m{index}") for index in range(5_000)],
    ]
    found = rows(*(told(*flood) for flood in floods))
    assert len({row.key.language for row in found}) == 301
    assert len({row.key.model for row in found}) == 1_001
    assert sum(row.tally.accepted for row in found) == 7_000


def test_labels_are_cut_and_hold_what_every_database_takes() -> None:
    long, odd = "x" * 10_000, "a\0b\nc\ud800d\u202e é"
    found = rows(told(replace(JUDGED, language=long), replace(JUDGED, language=odd)))
    assert [row.key.language for row in found] == ["x" * LABEL_LIMIT_CHARS, "abcd é"]


def test_mad_figures_are_cut() -> None:
    mad = replace(CALL, usage=Usage(2**70, -(2**70)), duration_s=1e300)
    (row,) = rows(told(mad))
    assert max(row.tally.input_tokens, row.tally.duration_us) <= 2**53
    assert row.tally.output_tokens == 0


def test_who_writes_is_told_when_there_is_something_and_when_it_is_much() -> None:
    rollup = Rollup()
    rollup.take(told(Started("http", "", 1.0)))
    assert not rollup.begun.is_set()
    rollup.take(told(CALL))
    assert (rollup.begun.is_set(), rollup.full.is_set()) == (True, False)
    rollup.take(told(*(replace(CALL, deployment=str(index)) for index in range(900))))
    rollup.take(told(*(replace(CALL, model=str(index)) for index in range(900))))
    assert rollup.full.is_set()
    assert len(rollup.cut()) == 1_801 > BATCH_ROWS
    assert not rollup.begun.is_set()
    assert not rollup.full.is_set()
    assert rollup.cut() == {}


def test_the_sums_of_a_tally_are_those_that_are_counted() -> None:
    assert Tally.__struct_fields__[:16] == SUMS
