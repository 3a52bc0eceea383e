"""The web as an ASGI application, for uvicorn."""

import gc
import os

from django.core.asgi import get_asgi_application

# Whatever the environment says: only these connect as the web's own role.
os.environ["DJANGO_SETTINGS_MODULE"] = "llmobs.web_settings"

application = get_asgi_application()
# What is loaded stays: without this, each page of many rows has it all looked through again.
gc.freeze()
gc.set_threshold(50_000, 20, 20)
