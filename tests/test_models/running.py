"""Running the commands of python -m models."""

from demitasse.models.__main__ import main


def run(capsys, *words):
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err
