"""``python -m caveau`` is the ``caveau`` command."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
