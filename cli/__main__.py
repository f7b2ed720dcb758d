"""Where `cuemill` begins. It imports nothing yet: each worker process that is spawned imports this module again."""


def main() -> None:
    from cli.main import main as run

    run()


if __name__ == "__main__":
    main()
