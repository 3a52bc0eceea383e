"""The web's settings: those of all, with PostgreSQL as the web's own role behind the wall, where there is one."""

from llmobs.settings import *  # noqa: F403
from llmobs.settings import CONNECTIONS, DATABASES, POOL_SIZE, database

if CONNECTIONS.web_database_url:
    web = database(CONNECTIONS.web_database_url, POOL_SIZE)
    for name, given in DATABASES.items():
        role = {"USER": web["USER"], "PASSWORD": web["PASSWORD"]}  # a replica has the primary's roles
        DATABASES[name] = {**(web if name == "default" else {**given, **role}), "ENGINE": "llmobs.tenants.walled"}
