"""`python -m llmobs.ops.probe URL`: exit status 0 if it answers 200. For containers, which have no curl."""

import sys
import urllib.request


def main() -> int:
    """Ask once, for at most 5 seconds."""
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:  # noqa: S310 - our own address
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
