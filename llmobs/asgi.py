"""The web as an ASGI application, for uvicorn."""

import os

from django.core.asgi import get_asgi_application

# Whatever the environment says: only these connect as the web's own role.
os.environ["DJANGO_SETTINGS_MODULE"] = "llmobs.web_settings"

application = get_asgi_application()
