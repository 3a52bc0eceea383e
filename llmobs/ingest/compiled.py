"""The hot loops in C (`_compiled*.c`), where they are built: OTLP's protobuf, looks at texts, rows for COPY.

`make install` builds them where there is a C compiler with Python's headers, and goes on without: everything works the
same, at about twice the CPU. `python -m llmobs.ingest.compiled` builds them by hand and says why it cannot.
"""

import shlex
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from types import ModuleType

SOURCES = sorted(Path(__file__).parent.glob("_compiled*.c"))
FORM = 7  # of what the module gives: raised with each change of its functions (`_compiled.h`)


def loaded() -> ModuleType | None:
    """The compiled module, if it was built for this Python, and of these sources."""
    try:
        module = import_module("llmobs.ingest._compiled")
    except ImportError:
        return None
    return module if getattr(module, "FORM", 0) == FORM else None


def build() -> str:
    """Compile beside the source; "" or, in a sentence, why it could not be."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        return f"Python's headers are not in {headers} (Debian, Ubuntu: apt install python3-dev)"
    target = Path(__file__).with_name(f"_compiled{sysconfig.get_config_var('EXT_SUFFIX')}")
    made = target.with_name(f".{target.name}.new")
    options = ["-O2", "-shared", "-fPIC", "-Werror=implicit-function-declaration", f"-I{headers}"]
    if sys.platform == "darwin":
        options += ["-undefined", "dynamic_lookup"]
    command = [*compiler, *options, "-o", str(made), *map(str, SOURCES)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        return f"there is no C compiler: {error}"
    except subprocess.CalledProcessError as error:
        return f"it does not compile: {error.stderr.strip()[-400:]}"
    made.replace(target)  # a process that has loaded the old one keeps it
    return ""


if __name__ == "__main__":
    reason = build()
    print(f"without the compiled reader, which is only slower: {reason}" if reason else "compiled reader built")
