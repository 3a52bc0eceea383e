"""Logs of the Django processes and the supervisor: one JSON object per line on stderr, ours and the libraries'."""

import logging.config
from typing import Any

import structlog

from llmobs.core.env import EnvError

_LEVELS = ("debug", "info", "warning", "error")

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def django_logging(level: str) -> dict[str, Any]:
    """The `logging` configuration for a level; raises EnvError for a level that does not exist."""
    if level not in _LEVELS:
        raise EnvError(f"LLMOBS_LOG_LEVEL={level!r} is none of {', '.join(_LEVELS)}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            "django.server": {"handlers": [], "propagate": True},
            "httpx2": {"level": "WARNING"},  # it tells each address that it calls; a webhook's holds a secret
        },
    }


def set_up(config: dict[str, Any]) -> None:
    """Configure `logging` and structlog alike (Django calls it with its LOGGING)."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
