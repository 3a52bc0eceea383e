"""`python -m llmobs.ops.bridge`: serves the bridge, in the environment that has the SDK."""

import argparse
import importlib

from llmobs.ops.bridge.app import Bridge

DEFAULT_PORT = 4200
LOCAL = ("127.0.0.1", "::1", "localhost")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bridge", description="OpenAI's format for providers that speak neither.")
    # It may hold credentials in its environment and asks for none: this machine alone, unless someone says otherwise.
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}")
    parser.add_argument("--provider", default="", help="of models that name none, such as gemini")
    options = parser.parse_args()
    try:
        sdk, uvicorn = importlib.import_module("any_llm"), importlib.import_module("uvicorn")
    except ImportError as error:
        how = "`make bridge`, or pip install -r requirements-bridge.txt"
        raise SystemExit(f"{error.name} is missing here: {how}") from None
    if options.host not in LOCAL:
        print(f"note: whoever reaches {options.host}:{options.port} spends what this environment's credentials allow")
    uvicorn.run(Bridge(sdk, options.provider), host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
