"""The sign-in page: allauth's own view, with its rate limits, in our clothes."""

from allauth.account.views import LoginView


class SignIn(LoginView):  # type: ignore[misc]
    """Comes before allauth's own address, so that the template does not hang on the order of apps."""

    template_name = "dashboards/login.html"
