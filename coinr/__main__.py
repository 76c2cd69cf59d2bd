"""``python -m coinr``: the command line."""

from coinr.cli import main

if __name__ == "__main__":
    main()
