"""Entry point of `cuemill`.

Each worker process imports this module again when it is spawned, so it imports nothing itself.
"""


def main() -> None:
    import cli.main

    cli.main.main()


if __name__ == "__main__":
    main()
