"""`python -m roboflow_async` and the command `roboflow-async`."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, or say what it needs."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"roboflow-async's commands need {' and '.join(missing)}: "
            "pip install 'roboflow-async[cli]'"
        )
    try:
        from roboflow_async.cli import main as command_line  # noqa: PLC0415 - after the check above

        code = command_line()
    except KeyboardInterrupt:  # while it is imported, too
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
