"""``python -m hpcscale``: the same program as the ``hpcscale`` command."""

from hpcscale.cli import main

if __name__ == "__main__":
    main()
