"""The UserStore and PlaceStore ports, on each kind of database."""

import asyncio
import re
from dataclasses import replace

import pytest

from isthmus.adapters.stores.database import Database, open_database
from isthmus.adapters.stores.places import SqlPlaceStore
from isthmus.adapters.stores.users import SqlUserStore
from isthmus.core.accounts import Namespace, NewUser, User
from isthmus.core.errors import Conflict, Invalid, NotFound
from tests.support.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def users(database: Database, clock: HandClock) -> SqlUserStore:
    return SqlUserStore(database, clock)


@pytest.fixture
def places(database: Database) -> SqlPlaceStore:
    return SqlPlaceStore(database)


async def test_a_local_account_is_there_from_the_start(
    users: SqlUserStore, places: SqlPlaceStore
) -> None:
    (local,) = await users.all()
    assert (local.id, local.username, local.name, local.namespace_id) == (
        1,
        "local",
        "Local user",
        1,
    )
    assert re.fullmatch("[0-9a-f]{32}", local.global_id)
    assert local.active
    assert not local.password
    own = await places.namespace(1)
    assert own == Namespace(1, "local", "Local user", "local", 1, None, 1)


async def test_every_installation_has_a_local_account_of_its_own() -> None:
    names: set[str] = set()
    for _ in range(2):
        async with open_database("sqlite://") as database:
            names.add((await SqlUserStore(database, HandClock()).get(1)).global_id)
    assert len(names) == 2


async def test_an_account_comes_back_as_it_was_made(
    users: SqlUserStore, places: SqlPlaceStore, clock: HandClock
) -> None:
    new = NewUser("Ada.L", "Ada L", "ada@example.org", admin=True, subject="iss sub", password="h")
    made = await users.create(new)
    assert made == User(
        id=2,
        username="Ada.L",
        name="Ada L",
        email="ada@example.org",
        global_id=made.global_id,
        namespace_id=made.namespace_id,
        created_at=clock.utc(),
        admin=True,
        subject="iss sub",
        password="h",
    )
    for found in (
        await users.get(made.id),
        await users.find(username="ada.l"),
        await users.find(subject="iss sub"),
        await users.find(global_id=made.global_id, username="ADA.L"),
        (await users.all())[1],
    ):
        assert found == made
    own = await places.namespace("ada.L")
    assert (own.id, own.root_id, own.owner_id) == (made.namespace_id, own.id, made.id)


async def test_nobody_is_found_by_nothing_or_by_half(users: SqlUserStore) -> None:
    for lookup in (
        users.find(),
        users.find(username="nobody"),
        users.find(username="local", global_id="other"),
        users.find(subject="\0"),
        users.get(0),
        users.get(-1),
        users.get(2**70),
    ):
        with pytest.raises(NotFound):
            await lookup


async def test_names_and_subjects_are_taken_once(
    users: SqlUserStore, places: SqlPlaceStore
) -> None:
    await places.add_group("Team")
    await users.create(NewUser("ada", "Ada", subject="iss 1"))
    for taken in (NewUser("ADA", "x"), NewUser("bob", "x", subject="iss 1"), NewUser("team", "x")):
        with pytest.raises(Conflict):
            await users.create(taken)
    # What was refused left nothing behind; accounts without a subject are many.
    await users.create(NewUser("bob", "Bob"))
    assert [user.username for user in await users.all()] == ["local", "ada", "bob"]


async def test_of_many_accounts_of_one_name_one_is_made(users: SqlUserStore) -> None:
    async def attempt() -> bool:
        try:
            await users.create(NewUser("ada", "Ada"))
        except Conflict:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt()) for _ in range(10)]
    assert sum(task.result() for task in tasks) == 1


UNFIT_PATHS = (
    "", "/", "a/", "/a", "a//b", "a b", "ä", "a/../b", "..", ".", "a..b", "-a", "a/-", "123", "7/a",
    "a\n", "a\0", "a" * 256, "/".join("a" * 21), "/".join(["a" * 200] * 6),
)  # fmt: skip


async def test_paths_are_checked(users: SqlUserStore, places: SqlPlaceStore) -> None:
    await places.add_group("g")
    for path in UNFIT_PATHS:
        with pytest.raises(Invalid):
            await places.add_group(path)
        with pytest.raises(Invalid):
            await places.add_project(path)
        with pytest.raises(Invalid):
            await users.create(NewUser(path, "x"))
        for lookup in (places.namespace(path), places.project(path)):
            with pytest.raises(NotFound):
                await lookup
    with pytest.raises(Invalid):
        await users.create(NewUser("a/b", "x"))
    with pytest.raises(Invalid):
        await places.add_project("alone")


async def test_an_account_is_changed_and_what_is_fixed_stays(users: SqlUserStore) -> None:
    await users.create(NewUser("ada", "Ada", subject="iss 1"))
    made = await users.create(NewUser("bob", "Bob"))
    new = replace(made, name="B", email="b@x", admin=True, active=False, subject="s", password="p")
    changed = await users.change(made.id, lambda _: replace(new, username="eve", global_id="g"))
    assert changed == new == await users.get(made.id)
    with pytest.raises(Conflict):
        await users.change(made.id, lambda user: replace(user, subject="iss 1"))
    with pytest.raises(Invalid):
        await users.change(made.id, lambda user: replace(user, name="n" * 256))
    with pytest.raises(NotFound):
        await users.change(404, lambda user: user)
    assert await users.get(made.id) == new


async def test_of_many_changes_at_once_none_is_lost(users: SqlUserStore) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(users.change(1, lambda user: replace(user, name=user.name + "x")))
    assert (await users.get(1)).name == "Local user" + "x" * 20


async def test_groups_and_projects_are_found_by_id_and_path(places: SqlPlaceStore) -> None:
    leaf = await places.add_group("Top/mid/Leaf", "The leaf")
    top, mid = await places.namespace("top"), await places.namespace("TOP/MID")
    assert (leaf.full_path, leaf.name, leaf.path) == ("Top/mid/Leaf", "The leaf", "Leaf")
    assert (leaf.parent_id, mid.parent_id, top.parent_id) == (mid.id, top.id, None)
    assert {leaf.root_id, mid.root_id, top.root_id} == {top.id}
    project = await places.add_project("top/MID/app", "An app")
    assert (project.full_path, project.namespace_id) == ("Top/mid/app", mid.id)
    assert (project.root_id, project.description, project.default_branch) == (
        top.id,
        "An app",
        "main",
    )
    for key in (project.id, str(project.id), "Top/mid/APP"):
        assert await places.project(key) == project
    assert await places.namespace(str(leaf.id)) == leaf
    # Adding what is there returns it, however it is spelt.
    assert await places.add_group("top/mid/leaf") == leaf
    # An id of the other kind is no id.
    for lookup in (
        places.project(leaf.id),
        places.namespace(project.id),
        places.namespace("top/mid/app"),
        places.project("top/mid/leaf"),
        places.namespace(0),
        places.namespace(-1),
        places.namespace(2**70),
        places.namespace("9" * 5_000),
        places.namespace("\u0661"),
    ):
        with pytest.raises(NotFound):
            await lookup


async def test_a_path_is_taken_once(places: SqlPlaceStore) -> None:
    await places.add_group("a/b")
    await places.add_project("a/app")
    for attempt in (
        places.add_project("A/APP"),
        places.add_project("a/B"),
        places.add_group("a/app"),
        places.add_group("a/app/c"),
        places.add_group("local"),
        places.add_group("local/sub"),
    ):
        with pytest.raises(Conflict):
            await attempt
    with pytest.raises(NotFound):
        await places.add_project("nowhere/app")
    with pytest.raises(NotFound):
        await places.add_project("a/app/app")
    assert [project.full_path for project in await places.projects()] == ["a/app"]


async def test_groups_made_at_once_are_one(places: SqlPlaceStore) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(places.add_group("x/y")) for _ in range(10)]
    assert len({task.result() for task in tasks}) == 1


async def test_who_reaches_what(users: SqlUserStore, places: SqlPlaceStore) -> None:
    ada = await users.create(NewUser("ada", "Ada"))
    bob = await users.create(NewUser("bob", "Bob"))
    deep = await places.add_group("a_b/c/d")
    beside = await places.add_group("axb/c")
    group = await places.namespace("a_b/c")
    for path in ("a_b/c/d/app", "a_b/top", "axb/c/other", "ada/own"):
        await places.add_project(path)
    await places.join(ada.id, group.id)
    await places.join(ada.id, group.id)

    async def reached(user: User) -> list[str]:
        return [project.full_path for project in await places.projects(user.id)]

    for namespace_id, expected in (
        (group.id, True),
        (deep.id, True),
        (ada.namespace_id, True),
        (group.root_id, False),
        (beside.id, False),
        (bob.namespace_id, False),
        (404, False),
        (2**70, False),
        ((await places.project("ada/own")).id, False),
    ):
        assert await places.reaches(ada.id, namespace_id) is expected
        assert not await places.reaches(bob.id, namespace_id) or namespace_id == bob.namespace_id
    assert await reached(ada) == ["a_b/c/d/app", "ada/own"]
    assert await reached(bob) == []
    await places.join(ada.id, group.id, member=False)
    assert await reached(ada) == ["ada/own"]
    for user_id, namespace_id in ((404, group.id), (ada.id, 404), (2**70, group.id)):
        with pytest.raises(NotFound):
            await places.join(user_id, namespace_id)
