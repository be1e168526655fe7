"""`python -m ftkit`: the command line, from a checkout as well as from an installation."""

from ftkit.cli import main

if __name__ == "__main__":
    main()
