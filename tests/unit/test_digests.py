import ast
import os

import pytest

from ehr_attack import digests, import_closure
from ehr_attack.paths import PROJECT_DIR

SCRIPTS = PROJECT_DIR / "scripts"
CACHED = ("import_closure", "_one_step", "_imports", "_files_of")


def names(script, modules=()):
    return set(digests.code_digest(SCRIPTS / script, modules))


def test_the_closure_of_a_rule_is_what_it_imports_directly_or_not():
    train = names("train.py")
    library = "scripts/ehr_attack"
    assert {
        "scripts/train.py",
        f"{library}/training.py",
        f"{library}/preprocessing.py",
        f"{library}/storage.py",
    } <= train
    assert {"package torch", "package numpy", "package scikit-learn"} <= train
    assert (
        not {f"{library}/attacks/engine.py", f"{library}/susceptibility/measures.py", f"{library}/evaluation.py"}
        & train
    )


def test_modules_named_at_run_time_are_part_of_it_only_when_named():
    model = "scripts/ehr_attack/models/lstm.py"
    assert model not in names("train.py")
    assert model in names("train.py", ["ehr_attack.models.lstm"])


def test_the_workflow_itself_is_no_part_of_a_result():
    for script in SCRIPTS.glob("*.py"):
        assert not any("snakemake" in name for name in names(script.name))


def test_what_is_imported_for_messages_only_is_used_in_nothing_else():
    """Each use stands in an error, in a line of the log, or in a function that only these call."""
    for name, importers in import_closure.FOR_MESSAGES_ONLY.items():
        module = name.removesuffix(".py")
        for importer in importers:
            tree = ast.parse((SCRIPTS / "ehr_attack" / importer).read_text())
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            words = {alias.name for node in imports if node.module == f"ehr_attack.{module}" for alias in node.names}
            assert words
            while told := {function.name for function in ast.walk(tree) if tells(function, words)} - words:
                words |= told
            assert not [use for use in uses(tree, words) if use not in words]


def uses(tree, words):
    """The names of functions, or "", in which a name of `words` is used outside of errors and logs."""
    spoken = {inner for node in ast.walk(tree) if speaks(node) for inner in ast.walk(node)}
    within = {
        inner: function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for inner in ast.walk(function)
    }
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in words)
    return [within.get(node, "") for node in names if node not in spoken]


def speaks(node):
    log = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return isinstance(node, ast.Raise) or (
        log and isinstance(node.func.value, ast.Name) and node.func.value.id == "_log"
    )


def tells(node, words):
    """Whether a function makes a text, with names of `words`."""
    text = isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "str"
    return text and any(isinstance(inner, ast.Name) and inner.id in words for inner in ast.walk(node))


def forget():
    """Empty the caches, as in a new process."""
    digests._seen.clear()
    cached = (digests._name_of, *(vars(import_closure)[name] for name in CACHED))
    for function in cached:
        function.cache_clear()


def test_what_only_talks_while_a_job_runs_is_no_part_of_it():
    for name in import_closure.WITHOUT_RESULTS:
        assert (PROJECT_DIR / "scripts" / "ehr_attack" / name).is_file()
        assert not any(f"scripts/ehr_attack/{name}" in names(script.name) for script in SCRIPTS.glob("*.py"))


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """A project of its own with package ehr_attack: run.py -> a -> b; c is imported by nobody."""
    package = tmp_path / "scripts" / "ehr_attack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from ehr_attack import b\n")
    (package / "b.py").write_text("import json\n")
    (package / "c.py").write_text("")
    (tmp_path / "run.py").write_text("import ehr_attack.a\n")
    monkeypatch.setattr(import_closure, "PACKAGE_DIR", package)
    monkeypatch.setattr(digests, "PROJECT_DIR", tmp_path)

    def digest():
        forget()
        return digests.code_digest(tmp_path / "run.py")

    yield tmp_path, digest
    forget()


def test_an_edit_of_a_used_module_changes_the_digest_and_editing_back_restores_it(small_project):
    folder, digest = small_project
    before = digest()
    used = folder / "scripts" / "ehr_attack" / "b.py"
    used.write_text("import json\nx = 1\n")
    assert digest() != before
    used.write_text("import json\n")
    assert digest() == before


def test_a_touch_or_an_unused_module_changes_nothing(small_project):
    folder, digest = small_project
    before = digest()
    os.utime(folder / "scripts" / "ehr_attack" / "b.py", (1, 1))
    (folder / "scripts" / "ehr_attack" / "c.py").write_text("x = 1\n")
    assert digest() == before


def test_what_only_a_type_checker_imports_is_no_part_of_it(small_project):
    folder, digest = small_project
    imports = "if {}:\n    from ehr_attack import c\nelse:\n    from ehr_attack import b\n"
    for test, used in (("TYPE_CHECKING", False), ("__debug__", True)):
        (folder / "scripts" / "ehr_attack" / "a.py").write_text(imports.format(test))
        assert ("scripts/ehr_attack/c.py" in digest()) == used
        assert "scripts/ehr_attack/b.py" in digest()


def test_package_versions_are_part_of_it(small_project, monkeypatch):
    folder, digest = small_project
    (folder / "scripts" / "ehr_attack" / "b.py").write_text("import numpy\n")
    before = digest()
    assert "package numpy" in before
    monkeypatch.setattr(digests, "installed_version", lambda name: "0.0")
    assert digest() != before


def test_a_data_digest_sees_small_files_whole_and_large_ones_by_size_and_ends(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"a" * 1000)
    large.write_bytes(bytes(3 << 20))
    digest_small, digest_large = digests.data_digest(small), digests.data_digest(large)
    os.utime(large, (1, 1))
    assert digests.data_digest(large) == digest_large
    small.write_bytes(b"a" * 999 + b"b")
    assert digests.data_digest(small) != digest_small
    for offset in (0, (3 << 20) - 1):
        content = bytearray(3 << 20)
        content[offset] = 1
        large.write_bytes(content)
        assert digests.data_digest(large) != digest_large


def test_the_digest_of_a_folder_tells_names_and_bytes_apart(tmp_path):
    def folder(name, files):
        made = tmp_path / name
        made.mkdir()
        for file, content in files.items():
            (made / file).write_bytes(content)
        return digests.data_digest(made)

    first = folder("one", {"1.txt": b"ab", "2.txt": b"c"})
    assert first == folder("same", {"2.txt": b"c", "1.txt": b"ab"})
    others = [{"1.txt": b"a", "2.txt": b"bc"}, {"1.txt": b"ab", "3.txt": b"c"}, {"1.txt": b"ab"}]
    assert len({first, *(folder(f"other{i}", files) for i, files in enumerate(others))}) == 4


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_every_package_of_a_digest_is_known_by_the_name_that_it_is_installed_by(script):
    digest = digests.code_digest(SCRIPTS / script)
    assert [name for name, version in digest.items() if version == "not installed"] == []


def test_a_package_beside_a_users_own_module_is_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_layers").mkdir()
    (tmp_path / "own_model_of_layers.py").write_text("from beside_layers.block import Block\nimport torch\n")
    (tmp_path / "beside_layers/block.py").write_text("Block = 1\n")
    found = digests.code_digest(SCRIPTS / "train.py", ["own_model_of_layers"])
    assert "own_model_of_layers.py" in found
    assert any(name.endswith("block.py") for name in found)
    assert "package beside_layers" not in found and "package torch" in found
