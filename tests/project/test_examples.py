"""The programs of ``docs/projects.md`` do what they say."""

import importlib

import pytest

#: What a program prints while it runs, by the name of its file.
PROGRAMS = {
    "typed_pipeline": "",
    "recurrent_ppo": "",
    "translation": "",
    "forecasting": "",
    "bug_hunt": "where      view(batch, -1), which runs after gru",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, capsys):
    """What a program measures, a loss or a share of wrong answers, falls to less than a quarter."""
    before, after = importlib.import_module(f"docs.examples.{name}").main()

    assert PROGRAMS[name] in capsys.readouterr().out
    assert after < before / 4
