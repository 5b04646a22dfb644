"""Public names of the application packages: imported on first use, known to YAML and to the help."""

import subprocess
import sys
from importlib import import_module

import pytest
from jsonargparse import ArgumentParser

from recollect_cli.configs import package_configs, read_config
from recollect_cli.signatures import signature, typing_imports

PACKAGES = (
    "recollect_nlp",
    "recollect_recsys",
    "recollect_speech",
    "recollect_timeseries",
    "recollect_vision",
)


def class_paths(settings: object) -> list[str]:
    """All class paths in a config."""
    if isinstance(settings, list):
        return [path for value in settings for path in class_paths(value)]
    if not isinstance(settings, dict):
        return []
    own = [settings["class_path"]] if "class_path" in settings else []
    return own + [path for value in settings.values() for path in class_paths(value)]


def test_importing_a_package_or_its_command_line_imports_nothing_heavy() -> None:
    modules = ", ".join(f"{package}, {package}.cli" for package in PACKAGES)
    code = f"import sys, {modules}; print({{'torch', 'numpy', 'lightning', 'recollect'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_the_classes_they_name(package: str) -> None:
    module = import_module(package)
    paths = typing_imports(package)
    assert set(module.__all__) == set(paths)
    assert set(module.__all__) <= set(dir(module))
    for name, path in paths.items():
        found = getattr(module, name)
        assert (found.__module__, found.__qualname__) == (path.rpartition(".")[0], name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_class_of_a_packaged_config_has_a_public_name(package: str) -> None:
    paths = {path for file in package_configs(package).values() for path in class_paths(read_config(file))}
    names = {path.rpartition(".")[2] for path in paths if path.startswith(f"{package}.")}
    assert names
    assert names <= set(import_module(package).__all__)


def test_help_reads_the_arguments_of_a_public_name() -> None:
    assert signature("recollect_nlp.Translation") == signature("recollect_nlp.tasks.translation.Translation")
    assert "translator" in signature("recollect_nlp.Translation").parameters


def test_yaml_names_a_class_by_its_public_name() -> None:
    from recollect.training import DataModule

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DataModule, "data")
    config = parser.parse_object(
        {"data": {"class_path": "recollect_nlp.StoryData", "init_args": {"stories": 7}}}
    )
    assert parser.instantiate(config).data.stories == 7
    assert "class_path: recollect_nlp.StoryData" in parser.dump(config)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'recollect_nlp' has no attribute 'Translatoin'"):
        import_module("recollect_nlp").Translatoin  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Translatoin' from 'recollect_nlp'"):
        exec("from recollect_nlp import Translatoin")
