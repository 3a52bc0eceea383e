"""Hands a message to apprise, in a process of its own (`alerts.service_process`) that ends with it.

apprise makes its own requests, and its log tells URLs. In a process of its own it can be stopped when its time is over,
every connection it makes is looked at after its name was resolved and after any redirect, it has none of our
environment, and what it logs goes nowhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import llmobs

ROOT = str(Path(llmobs.__path__[0]).parent)
# What a process needs to find its libraries and certificates. A proxy decides by itself what may be reached.
KEPT = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PYTHONPATH")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


class ServiceError(Exception):
    """The service did not take the message."""


def send(url: str, title: str, text: str, allow_private: bool, timeout_seconds: float) -> None:
    """Send once, or raise ServiceError."""
    names = (*KEPT, *(PROXIES if allow_private else ()))
    asked = json.dumps({"url": url, "title": title, "text": text, "allow_private": allow_private})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "llmobs.alerts.service_process"],
            input=asked.encode("utf-8", "replace"),
            capture_output=True,
            timeout=timeout_seconds,
            cwd=ROOT,
            env={name: os.environ[name] for name in names if name in os.environ},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(f"the service did not answer within {timeout_seconds:.0f} s") from None
    except OSError as error:
        raise ServiceError(f"the sending process cannot be started: {type(error).__name__}") from None
    if done.returncode:
        raise ServiceError(done.stdout.decode(errors="replace")[:200] or "the sending process failed")
