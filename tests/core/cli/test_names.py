"""Names on the command line and in configs stay as they are written."""

import json
from pathlib import Path

import pytest

from recollect_cli.configs import read_configs
from recollect_cli.names import names_in_configs, quote_names

INTERACTIONS = {"data": {"class_path": "recollect_recsys.data.interactions.InteractionsData"}}
TRICKY = [
    "07",
    "no",
    "1_0",
    "0x1F",
    "12:30",
    "1.50",
    "1e5",
    "null",
    "~",
    "true",
    "-5",
    "2020-01-01",
    "A, B",
    "naïve",
]


def as_yaml(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' if "," in name else name for name in names) + "]"


@pytest.mark.parametrize("name", TRICKY)
def test_a_name_on_the_command_line_stays_as_it_is_written(name: str):
    expected = json.dumps([name, "7"], ensure_ascii=False)
    value = as_yaml([name, "7"])
    assert quote_names(["--data.users", value], INTERACTIONS) == ["--data.users", expected]
    assert quote_names([f"--data.users={value}"], INTERACTIONS) == [f"--data.users={expected}"]
    assert quote_names(["--data.init_args.users", value], INTERACTIONS)[1] == expected


def test_an_appended_name_is_text():
    assert quote_names(["--data.users+", "07", "--data.users+=no"], INTERACTIONS) == [
        "--data.users+",
        '"07"',
        '--data.users+="no"',
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["--data.users", "null"],
        ["--data.users", "[a, {b: c}]"],
        ["--data.users", "[broken"],
        ["--data.users"],
        ["--data.window", "07"],
        ["--data.path", "07.csv"],
        ["--seed_everything", "07"],
        ["--trainer.devices", "[0, 1]"],
        ["--model.optimizer", "[07]"],
    ],
)
def test_what_is_no_list_of_names_stays_as_it_is(args: list[str]):
    assert quote_names(args, INTERACTIONS) == args


def test_names_in_a_config_stay_as_they_are_written(tmp_path: Path):
    path = tmp_path / "own.yaml"
    names = "\n".join(f"      - {name}" for name in TRICKY if "," not in name and name not in ("null", "~"))
    path.write_text(
        "data:\n  class_path: recollect_recsys.data.interactions.InteractionsData\n"
        f"  init_args:\n    path: 2024\n    window: 010\n    columns: [user, item]\n    users:\n{names}\n",
        encoding="utf-8",
    )
    settings = read_configs([path])
    flags = names_in_configs([path], settings)
    expected = [name for name in TRICKY if "," not in name and name not in ("null", "~")]
    assert flags == ["--data.path=2024", f"--data.users={json.dumps(expected, ensure_ascii=False)}"]


def test_a_later_config_replaces_names(tmp_path: Path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    head = (
        "data:\n  class_path: recollect_recsys.data.interactions.InteractionsData\n  init_args:\n    users: "
    )
    first.write_text(f"{head}[07]\n")
    second.write_text(f"{head}['08', b]\n")
    assert names_in_configs([first], read_configs([first])) == ['--data.users=["07"]']
    assert names_in_configs([first, second], read_configs([first, second])) == []
