"""The `relook` command line: `relook train …` is `python -m cluster.train …`."""

import argparse
import importlib
import sys

from cluster.commands import COMMANDS


def main(argv: list[str] | None = None) -> int:
    """Runs the command named by the first argument with the remaining arguments. Returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    rows = "\n".join(f"  {name:11} {description}" for name, (_, description) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="relook",
        usage="relook COMMAND [OPTIONS]",
        description="Trains language models to write web pages.",
        epilog=f"commands:\n{rows}\n\n`relook COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of the commands below")
    name = parser.parse_args(arguments[:1]).command
    code: int = importlib.import_module(COMMANDS[name][0]).main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
