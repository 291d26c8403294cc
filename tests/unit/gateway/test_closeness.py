"""Which other files come first."""

from isthmus.core.messages import ContextItem
from isthmus.gateway.closeness import ranked


def names(*items: ContextItem, file_name: str = "src/app/a.py", prefix: str = "") -> list[str]:
    return [item.name for item in ranked(items, file_name, prefix)]


def file(name: str, content: str = "") -> ContextItem:
    return ContextItem("file", name, content)


def test_equals_keep_their_order_in_which_recent_ones_come_first() -> None:
    assert names(file("x.py"), file("y.py"), file("z.py")) == ["x.py", "y.py", "z.py"]


def test_the_same_folder_and_language_come_first() -> None:
    found = names(file("docs/x.md"), file("lib/y.py"), file("src/app/z.py"))
    assert found == ["src/app/z.py", "lib/y.py", "docs/x.md"]
    assert names(file("lib\\y.md"), file("src\\app\\z.py"))[0] == "src\\app\\z.py"


def test_shared_words_weigh_most() -> None:
    near = "total = fetch_invoice(customer)"
    other = file("lib/billing.py", "def fetch_invoice(customer): total = 1")
    assert names(file("src/app/z.py", "nothing"), other, prefix=near)[0] == "lib/billing.py"


def test_only_so_much_of_a_file_is_looked_at() -> None:
    late = file("lib/b.py", " " * 8_000 + "fetch_invoice")
    assert names(file("lib/a.py"), late, prefix="fetch_invoice") == ["lib/a.py", "lib/b.py"]
    assert names(late) == ["lib/b.py"]
