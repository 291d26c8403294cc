"""Prompt files: what is read, what is refused at start, what is rendered."""

from importlib.resources import files

import pytest

from isthmus.core.errors import Invalid, NotFound, TooLarge
from isthmus.core.messages import Message, Text
from isthmus.prompts.registry import Registry

GOOD = """
name: Release note writer
unit_primitive: summarize_review
model:
  params: {temperature: 0.1, max_tokens: 1024}
prompt_template:
  system: Write one line per change.
  user: "{{ changes }}"
params: {timeout: 30, stop: [END]}
"""


def one(template: str) -> Registry:
    lines = "\n".join(f"    {line}" for line in template.splitlines())
    text = f"name: P\nunit_primitive: up\nprompt_template:\n  user: |\n{lines}\n"
    return Registry({"p/1.0.0.yml": text})


def rendered(template: str, **variables: object) -> str:
    (message,) = one(template).get("p").messages(variables)
    (part,) = message.parts
    assert isinstance(part, Text)
    return part.text


def test_a_prompt_is_found_by_id_and_version() -> None:
    registry = Registry({"a/b/1.0.0.yml": GOOD, "a/b/1.1.0-dev.yml": GOOD, "c/2.0.0.yml": GOOD})
    assert registry.ids() == ("a/b", "c")
    prompt = registry.get("a/b", "^1.0.0")
    assert (prompt.version.text, prompt.stop, prompt.timeout_s) == ("1.0.0", ("END",), 30.0)
    assert prompt.params.max_tokens == 1024
    assert registry.get("a/b", "1.1.0-dev").version.text == "1.1.0-dev"
    assert prompt.messages({"changes": "x"}) == (
        Message("system", (Text("Write one line per change."),)),
        Message("user", (Text("x"),)),
    )


@pytest.mark.parametrize(
    ("prompt_id", "version"), [("a", "^1.0.0"), ("c", "^1.0.0"), ("c", "nonsense"), ("c", "9.9.9")]
)
def test_what_is_not_there_is_not_found(prompt_id: str, version: str) -> None:
    with pytest.raises(NotFound):
        Registry({"c/2.0.0.yml": GOOD}).get(prompt_id, version)


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("a/1.0.0.yml", GOOD + "colour: red\n", "colour"),
        ("a/1.0.0.yml", GOOD.replace("max_tokens", "max_token"), "max_token"),
        ("a/1.0.0.yml", GOOD.replace("0.1", "warm"), "temperature"),
        ("a/1.0.0.yml", GOOD.replace("  user:", "  robot:"), "prompt_template"),
        ("a/1.0.0.yml", GOOD.replace("{{ changes }}", "{{ changes"), "prompt_template.user"),
        ("a/1.0.0.yml", GOOD.replace("{{ changes }}", "{{ x | center }}"), "center"),
        ("a/1.0.0.yml", "name: [", "a/1.0.0.yml"),
        ("a/one.yml", GOOD, "not a version"),
        ("1.0.0.yml", GOOD, "folder"),
        ("a/1.0.0.yml", GOOD + "operation_type: other\n", "operation_type"),
    ],
)
def test_a_faulty_file_fails_at_start_naming_itself_and_the_key(
    path: str, text: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=path) as caught:
        Registry({path: text})
    assert fault in str(caught.value)


def test_an_empty_block_for_openai_is_refused() -> None:
    text = GOOD.replace("model:\n", "model:\n  provider_params: {openai: {}}\n")
    with pytest.raises(ValueError, match="verbosity"):
        Registry({"a/1.0.0.yml": text})


def test_fragments_are_included() -> None:
    text = GOOD.replace('"{{ changes }}"', "\"{% include 'parts/tail.jinja' %}\"")
    registry = Registry({"a/1.0.0.yml": text, "parts/tail.jinja": "tail of {{ changes }}"})
    (_, user) = registry.get("a").messages({"changes": "x"})
    assert user.parts == (Text("tail of x"),)


@pytest.mark.parametrize(
    ("include", "fragment", "fault"),
    [
        ("'parts/gone.jinja'", "", "no fragment"),
        ("changes", "", "must name"),
        ("'parts/tail.jinja'", "{% include 'parts/gone.jinja' %}", "no fragment"),
        ("'parts/tail.jinja'", "{{ broken", "prompt_template.user"),
        ("'parts/tail.jinja'", "{% include 'parts/tail.jinja' %}", "in a circle"),
    ],
)
def test_fragments_are_checked_at_start(include: str, fragment: str, fault: str) -> None:
    text = GOOD.replace('"{{ changes }}"', f'"{{% include {include} %}}"')
    prompts = {"a/1.0.0.yml": text, "parts/tail.jinja": fragment}
    with pytest.raises(ValueError, match=fault):
        Registry(prompts)


def test_system_parts_and_placeholders_keep_the_file_s_order() -> None:
    text = (
        "name: P\nunit_primitive: up\nprompt_template:\n  system_static: one\n"
        "  system_dynamic: '{{ two }}'\n  placeholder: history\n  user: three\n"
    )
    prompt = Registry({"p/1.0.0.yml": text}).get("p")
    said = Message("assistant", (Text("said"),))
    messages = prompt.messages({"two": "2", "history": [said]})
    assert [message.role for message in messages] == ["system", "system", "assistant", "user"]
    assert [m.role for m in prompt.messages({"two": ""})] == ["system", "user"]
    with pytest.raises(Invalid):
        prompt.messages({"two": "2", "history": "said"})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        rendered("{{ wish }}")
    assert "wish" in caught.value.fields[0].reason


def test_the_filters_that_prompts_may_use() -> None:
    assert (
        rendered("{{ a | split(',') | join('+') }} {{ b | parse_json | length }}", a="x,y", b="[1]")
        == "x+y 1"
    )
    with pytest.raises(Invalid):
        rendered("{{ b | parse_json }}", b="[" + "1," * 600_000)


@pytest.mark.parametrize(
    "template",
    [
        "{{ x.upper() }}",
        "{{ x.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ x * 1000 }}",
        "{{ 9 ** 9 }}",
        "{{ 1 / 0 }}",
        "{{ range(10) }}",
        "{{ cycler('a') }}",
        "{{ ('%s' | string).format(x) }}",
    ],
)
def test_a_template_cannot_reach_out_of_its_box(template: str) -> None:
    with pytest.raises(Invalid):
        rendered(template, x="abc")


def test_what_variables_hold_is_never_a_template() -> None:
    assert rendered("{{ x }}", x="{{ 7 + 7 }} {% raw %}") == "{{ 7 + 7 }} {% raw %}"


def test_the_rendered_size_is_bounded() -> None:
    with pytest.raises(TooLarge):
        rendered(
            "{% for a in x %}{% for b in x %}{{ y }}{% endfor %}{% endfor %}",
            x=["a"] * 300,
            y="y" * 100,
        )


def test_our_own_prompts_load_and_render() -> None:
    registry = Registry.load(files("isthmus") / "library" / "prompts")
    code = {"prefix": "a", "suffix": "b", "file_name": "f", "language": "l", "context": ()}
    for name, variables in (
        ("code_suggestions/completions", code),
        ("code_suggestions/generations", code | {"user_instruction": "do it"}),
        ("agent/chat", {"history": ()}),
    ):
        messages = registry.get(name).messages(variables)
        assert messages[0].role == "system"
    assert registry.get("code_suggestions/completions").unit_primitive == "complete_code"
    assert registry.get("code_suggestions/generations").unit_primitive == "generate_code"
