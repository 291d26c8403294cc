"""Which project or namespace a request means, and whether its caller may see it."""

import re
from typing import Final
from urllib.parse import unquote

from isthmus.core.accounts import Member, Namespace, Place, Project
from isthmus.core.errors import Conflict, Invalid, NotFound, Rejected
from isthmus.core.ports import PlaceStore
from isthmus.core.workflow import Workflow

KEY_LIMIT_CHARS: Final = 1_024
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_GID = re.compile(
    r"gid://gitlab/(?:Group|Namespace|Project|[A-Za-z:]+Namespace)/([1-9][0-9]{0,17})"
)
NO_DEFAULT: Final = "No default namespace found. Name a project or a namespace."


class Places:
    """Looks places up for a member. What it may not see is not there: NotFound.

    With `register`, a project path that nobody has becomes a project of the caller's, so that a
    single user's clients work in any repository.
    """

    def __init__(self, store: PlaceStore, *, register: bool) -> None:
        self._store = store
        self._register = register

    async def project(self, member: Member, key: str | int) -> Project:
        """By id, GID or full path, percent-encoded or not. Raises NotFound."""
        wanted = _key(key)
        try:
            found = await self._store.project(wanted)
        except NotFound:
            if isinstance(wanted, int) or not self._register:
                raise NotFound("404 Project Not Found") from None
            found = await self._registered(member, wanted)
        if not await self._store.reaches(member.user.id, found.namespace_id):
            raise NotFound("404 Project Not Found")
        return found

    async def namespace(self, member: Member, key: str | int) -> Namespace:
        """By id, GID or full path. Raises NotFound."""
        try:
            found = await self._store.namespace(_key(key))
        except NotFound:
            raise NotFound("404 Namespace Not Found") from None
        if not await self._store.reaches(member.user.id, found.id):
            raise NotFound("404 Namespace Not Found")
        return found

    async def place(
        self, member: Member, project: str | int | None = None, namespace: str | int | None = None
    ) -> Place:
        """The project, else the namespace, else the caller's own. Raises NotFound, Rejected."""
        if project not in {None, ""}:
            found = await self.project(member, project or "")
            return Place(await self._store.namespace(found.namespace_id), found)
        if namespace not in {None, ""}:
            return Place(await self.namespace(member, namespace or ""))
        try:
            return Place(await self._store.namespace(member.user.namespace_id))
        except NotFound:
            raise Rejected(NO_DEFAULT) from None

    async def of(self, workflow: Workflow) -> Place | None:
        """Where a workflow belongs; None for one that was made without an account."""
        if workflow.project_id is not None:
            project = await self._store.project(workflow.project_id)
            return Place(await self._store.namespace(project.namespace_id), project)
        if workflow.namespace_id is not None:
            return Place(await self._store.namespace(workflow.namespace_id))
        return None

    async def _registered(self, member: Member, full_path: str) -> Project:
        parent, _, _ = full_path.rpartition("/")
        if not parent:
            raise NotFound("404 Project Not Found")
        try:
            namespace = await self._store.namespace(parent)
        except NotFound:
            namespace = await self._added(member, parent)
        if not await self._store.reaches(member.user.id, namespace.id):
            raise NotFound("404 Project Not Found")
        try:
            return await self._store.add_project(full_path)
        except (Conflict, Invalid):
            raise NotFound("404 Project Not Found") from None

    async def _added(self, member: Member, full_path: str) -> Namespace:
        """A group that nobody has, as the caller's; below one that is there, only a member's."""
        above = full_path
        while "/" in above:
            above = above.rpartition("/")[0]
            try:
                ancestor = await self._store.namespace(above)
            except NotFound:
                continue
            if not await self._store.reaches(member.user.id, ancestor.id):
                raise NotFound("404 Project Not Found")
            break
        try:
            group = await self._store.add_group(full_path)
        except (Conflict, Invalid):
            raise NotFound("404 Project Not Found") from None
        await self._store.join(member.user.id, group.id)
        return group


def _key(key: str | int) -> int | str:
    """An id as a number, a path as text. Raises NotFound for what is neither."""
    text = unquote(str(key)).strip()
    if len(text) > KEY_LIMIT_CHARS or not text:
        raise NotFound("404 Not Found")
    if _NUMBER.fullmatch(text):
        return int(text)
    gid = _GID.fullmatch(text)
    return int(gid[1]) if gid else text.removesuffix(".git")
