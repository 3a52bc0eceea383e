"""People's accounts: made by operators in the admin, nobody signs up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's rules (rate limits, password checks), but that signing up is closed."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
