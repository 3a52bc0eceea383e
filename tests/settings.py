"""The real settings, but for what only costs time in tests."""

from llmobs.settings import *  # noqa: F403

# Without collected files; names stay plain.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
PRIVATE_WEBHOOKS = True  # receivers in tests listen on loopback
DATABASES["default"]["ENGINE"] = "tests.walled"  # noqa: F405 - requests are the web's role
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
