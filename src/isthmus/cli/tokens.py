"""`isthmus tokens`: personal access tokens, by which clients come in."""

import argparse
from collections.abc import Sequence

from isthmus.cli._desk import LOCAL_USER, Desk, Row, Subparsers, actions
from isthmus.core.accounts import SCOPES, Token, TokenKind
from isthmus.core.errors import Rejected
from isthmus.instance.accounts import Wish

TTL_MOST_DAYS = 3_650
NAME_LIMIT_CHARS = 255
_DAY_S = 86_400.0


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    made = actions(
        subparsers,
        "tokens",
        "make, list and revoke personal access tokens",
        {
            "create": ("print a new token, and nothing else", _create),
            "list": ("print a table of the tokens that are not revoked", _list),
            "revoke": ("let nobody in by a token any more", _revoke),
        },
    )
    for parser in made.values():
        parser.add_argument(
            "--user", default=LOCAL_USER, metavar="NAME", help="whose (default: local)"
        )
    made["create"].add_argument("--name", default="", metavar="TEXT", help="what it is for")
    made["create"].add_argument(
        "--scope", nargs="+", action="extend", metavar="NAME", help="what it may do (default: api)"
    )
    made["create"].add_argument(
        "--ttl", type=int, metavar="DAYS", help="when it ends (default: never)"
    )
    made["revoke"].add_argument("id", type=int, metavar="ID", help="as `list` tells it")


async def _create(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    scopes = frozenset(args.scope or ("api",))
    if unknown := scopes - SCOPES:
        names = ", ".join(sorted(SCOPES))
        raise Rejected(f"--scope {min(unknown)[:100]!r} is not known; there are {names}")
    if args.ttl is not None and not 1 <= args.ttl <= TTL_MOST_DAYS:
        raise Rejected(f"--ttl must be from 1 to {TTL_MOST_DAYS} days")
    if len(args.name) > NAME_LIMIT_CHARS:
        raise Rejected(f"--name must have at most {NAME_LIMIT_CHARS} characters")
    user = await desk.user(args.user)
    if not user.active:
        raise Rejected(f"the user {user.username!r} is disabled")
    ttl_s = None if args.ttl is None else args.ttl * _DAY_S
    minted = await desk.accounts.mint(user, Wish(TokenKind.PERSONAL, scopes, ttl_s, args.name))
    return [(minted.text,)]


async def _list(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    rows = [
        (token.id, token.name, ",".join(sorted(token.scopes)), _day(token), _ends(token, desk))
        for token in await _tokens(args, desk)
    ]
    return [("ID", "NAME", "SCOPES", "MADE", "ENDS"), *rows]


async def _revoke(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    known = {token.id for token in await _tokens(args, desk)}
    if args.id not in known:
        raise Rejected(f"the user {args.user[:100]!r} has no token {args.id}")
    await desk.stores.tokens.revoke(args.id)
    return [(f"Token {args.id} is revoked.",)]


async def _tokens(args: argparse.Namespace, desk: Desk) -> Sequence[Token]:
    user = await desk.user(args.user)
    return await desk.stores.tokens.all(user.id, TokenKind.PERSONAL)


def _day(token: Token) -> str:
    return token.created_at.date().isoformat()


def _ends(token: Token, desk: Desk) -> str:
    if token.expires_at is None:
        return "never"
    day = token.expires_at.date().isoformat()
    return day if desk.accounts.current(token) else f"{day} (over)"
