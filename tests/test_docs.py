"""The documentation speaks of commands, options, keys, metrics, names and files that exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import modelyard
from modelyard.brief.json_schema import brief_json_schema
from modelyard.cli.main import VERBS, cli
from modelyard.core.errors import BriefError
from modelyard.metrics.find import all_metrics, metric

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
STAGES = "brief data selection training evaluation bundle serving registry monitoring families".split()
SOURCE = ROOT / "src" / "modelyard"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_MADE = re.compile(r"<!-- (\S+): begin -->.*?<!-- \1: end -->", re.DOTALL)
"""What benchmarks write into a page."""


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _prose(name: str) -> str:
    return _FENCE.sub("", _text(name))


def _commands(name: str) -> Iterator[list[str]]:
    """Yield the words of every command line of a page: those of its code blocks, and those in backticks."""
    lines = [line for _, block in _FENCE.findall(_text(name)) for line in block.splitlines()]
    lines += re.findall(r"`(modelyard [^`\n]+)`", _prose(name))
    for line in lines:
        found = re.match(r"\s*(?:\$ )?(modelyard [a-z].*)", line)
        if found:
            yield shlex.split(found[1], comments=True)[1:]


def _python(name: str) -> Iterator[ast.Module]:
    for language, block in _FENCE.findall(_text(name)):
        if language == "python":
            yield ast.parse(block)


def _schema_keys() -> set[str]:
    """Return every key of a brief, those of sections with their section."""
    keys = set()
    for key, described in brief_json_schema()["properties"].items():
        parts = [described, *described.get("anyOf", ())]
        inner = next((p["properties"] for p in parts if "properties" in p), None)
        keys |= {key} if inner is None else {f"{key}.{name}" for name in inner}
    return keys


def test_every_stage_has_its_page() -> None:
    assert {f"docs/{stage}.md" for stage in STAGES} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_commands_name_verbs_and_options_that_exist(name: str) -> None:
    root = click.Context(cli, info_name="modelyard")
    for words in _commands(name):
        verb, given = words[0], words[1:]
        assert verb in VERBS, f"{name}: no verb is called '{verb}'"
        command = cli.get_command(root, verb)
        assert command is not None
        if any(word.startswith("[") for word in given):
            continue  # a form, not a command
        if isinstance(command, click.Group):
            assert given[0] in command.commands, f"{name}: modelyard {verb} has no '{given[0]}'"
            command, given = command.commands[given[0]], given[1:]
        context = command.make_context(verb, list(given), parent=root, resilient_parsing=True)
        options = {text for p in command.params if isinstance(p, click.Option) for text in (*p.opts, *p.secondary_opts)}
        unknown = [word for word in given if re.fullmatch(r"--?[a-z][\w-]*", word) and word not in options]
        assert not unknown, f"{name}: modelyard {verb} has no option {unknown[0]}"
        assert not context.args, f"{name}: modelyard {verb} takes no '{context.args[0]}'"


def test_commands_are_found_at_all() -> None:
    verbs = {words[0] for name in NAMES for words in _commands(name)}
    assert verbs >= set(VERBS)


def test_the_page_of_the_command_line_names_every_verb_and_variable() -> None:
    text = _text("docs/command-line.md")
    assert [verb for verb in VERBS if not re.search(rf"^\|.*`{verb}`.*\|", text, re.MULTILINE)] == []
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    assert [name for name in sorted(set(re.findall(r"MODELYARD_[A-Z]+", source))) if f"`{name}`" not in text] == []


def _options(command: click.Command, name: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(command, click.Group):
        for verb in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), verb)
            assert found is not None
            yield from _options(found, f"{name} {verb}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, [*parameter.opts, *parameter.secondary_opts]


def test_every_option_stands_on_a_page() -> None:
    text = "".join(map(_text, NAMES))
    missing = [
        f"{verb} {' '.join(spellings)}"
        for verb, spellings in _options(cli, "modelyard")
        if not any(re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", text) for one in spellings)
    ]
    assert missing == []


def test_every_metric_of_a_server_stands_on_the_page_of_monitoring() -> None:
    source = (SOURCE / "serving" / "metrics.py").read_text(encoding="utf-8")
    names = re.findall(r'^[A-Z_]+ = "((?:modelyard|http_server)_\w+)"', source, re.MULTILINE)
    assert len(names) > 5
    assert [name for name in names if f"`{name}`" not in _text("docs/monitoring.md")] == []


def test_the_readme_leads_to_every_page() -> None:
    led = set(_LINK.findall(_text("README.md")))
    assert [name for name in NAMES if name != "README.md" and name not in led] == []


def test_the_page_of_the_brief_documents_every_key_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", _text("docs/brief.md"), re.MULTILINE)
    assert sorted(rows) == sorted(_schema_keys())


@pytest.mark.parametrize("name", NAMES)
def test_keys_of_sections_exist(name: str) -> None:
    keys = _schema_keys()
    sections = {key.partition(".")[0] for key in keys if "." in key}
    named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_]+)\b", _prose(name))
    files = {"py", "md", "npz", "yaml", "json", "toml"}
    wrong = [key for key in named if key not in keys and key.rpartition(".")[2] not in files]
    assert not wrong, f"{name}: no key is called {wrong}"


@pytest.mark.parametrize("name", NAMES)
def test_briefs_shown_can_be_read(name: str, tmp_path: Path) -> None:
    for language, block in _FENCE.findall(_text(name)):
        if language == "yaml":
            (tmp_path / "shown.yaml").write_text(block, encoding="utf-8")
            assert modelyard.read_brief(tmp_path / "shown.yaml").data.label


def test_metrics_of_the_brief_s_table_exist_and_suit_their_task() -> None:
    table = re.search(r"^\| task \| usual metric .*?\n\n", _text("docs/brief.md"), re.MULTILINE | re.DOTALL)
    assert table is not None
    shown: dict[str, set[str]] = {}
    for line in table[0].splitlines()[2:]:
        cells = line.strip("|").split("|")
        if len(cells) == 3:
            shown[cells[0].strip()] = set(re.findall(r"`([^`]+)`", cells[1] + cells[2]))
    for task, named in shown.items():
        assert named == {m.name for m in all_metrics() if task in m.tasks}, task
    assert set(shown) == {"binary", "multiclass", "regression", "forecast"}


@pytest.mark.parametrize("name", NAMES)
def test_targets_named_in_the_text_have_metrics(name: str) -> None:
    for text in re.findall(r"`([a-z][\w@]*) [<>]=? [\d.]+%?`", _prose(name)):
        if text in {"p99", "prior_visits", "age", "q", "p"}:
            continue
        try:
            metric(text)
        except BriefError as error:
            pytest.fail(f"{name}: {error.what}")


@pytest.mark.parametrize("name", NAMES)
def test_links_within_the_repository_resolve(name: str) -> None:
    for target in _LINK.findall(_prose(name)):
        if re.match(r"[a-z]+://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ROOT / name if not path else (ROOT / name).parent / path
        if file.suffix == ".png":
            continue  # pictures are made by the demo
        assert file.exists(), f"{name}: {target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{name}: {target} leads nowhere"


@pytest.mark.parametrize("name", NAMES)
def test_names_used_in_python_exist(name: str) -> None:
    for tree in _python(name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in {"my", "modelyard"}:
                    assert node.attr in modelyard.__all__, f"{name}: modelyard.{node.attr} does not exist"
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelyard."):
                path = ROOT / "src" / (node.module or "").replace(".", "/")
                source = path.with_suffix(".py").read_text(encoding="utf-8")
                for alias in node.names:
                    assert re.search(rf"^(def|class) {alias.name}\b", source, re.MULTILINE), f"{name}: {alias.name}"


@pytest.mark.parametrize("name", NAMES)
def test_keywords_of_public_functions_exist(name: str) -> None:
    for tree in _python(name):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = node.func
            if not isinstance(called.value, ast.Name) or called.value.id != "my":
                continue
            known = _parameters(called.attr)
            for keyword in node.keywords:
                assert keyword.arg in known, f"{name}: {called.attr} takes no '{keyword.arg}'"


def _parameters(public: str) -> set[str]:
    """Return a public function's parameters from its source: importing all of them would load every library."""
    source = ROOT / "src" / (modelyard._HOMES[public].replace(".", "/") + ".py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    made = next(n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == public)
    if isinstance(made, ast.ClassDef):
        return {n.target.id for n in made.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    return {a.arg for a in (*made.args.args, *made.args.kwonlyargs)}


@pytest.mark.parametrize("name", NAMES)
def test_pages_keep_to_the_house(name: str) -> None:
    text = _MADE.sub("", _text(name))
    prose = _FENCE.sub("", text)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long, f"{name}: a line of {len(long[0])} characters"
    assert not re.search(r"[\U0001F300-\U0001FAFF\u2600-\u27BF]", text), f"{name}: an emoji"
    assert "!" not in re.sub(r"`[^`]*`|!\[", "", prose), f"{name}: an exclamation mark"
    assert len(text.splitlines()) <= 150


@pytest.mark.parametrize("stage", STAGES)
def test_the_page_of_a_stage_says_enough(stage: str) -> None:
    assert len(_text(f"docs/{stage}.md").splitlines()) >= 60
