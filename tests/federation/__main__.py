"""`make test-federation [n=2000] [rate=50] [down=600] [seed=1]`: three platforms under fire; a JSON line at the end."""

import asyncio
import json
import sys

from tests.federation.run import Form, run


def main(words: list[str]) -> int:
    given = dict(word.split("=", 1) for word in words)
    form = Form(
        n=int(given.get("n", 2_000)),
        rate=float(given.get("rate", 50)),
        down_s=float(given.get("down", 600)),
        seed=int(given.get("seed", 1)),
    )
    result = asyncio.run(run(form, lambda line: print(line, flush=True)))
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
