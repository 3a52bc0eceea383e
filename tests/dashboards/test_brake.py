"""S2-02: the pages of runaways: what was seen, and the button that ends a pause, for who may press it."""

import pytest
from django.conf import settings
from django.test import Client

from llmobs.brake.link import token
from llmobs.brake.models import BrakedSession
from llmobs.tenants.models import AuditEntry, Membership
from tests.brake.made import episode
from tests.dashboards.cast import Cast


@pytest.fixture
def paused(empty_cast: Cast) -> BrakedSession:
    return episode(empty_cast.acme, 1, session_id="night <job>")


def link_to(session: BrakedSession) -> str:
    return f"/brake/{token(session.pk, settings.SECRET_KEY)}/"


def page(cast: Cast, path: str, user: str = "alice") -> str:
    answer = cast.as_(getattr(cast, user)).get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_without_runaways_the_page_says_what_the_brake_does(empty_cast: Cast) -> None:
    shown = page(empty_cast, "/brake/")
    assert "Nothing ran away" in shown
    assert "off: not looked for" in shown
    assert f"/admin/tenants/tenant/{empty_cast.acme.pk}/change/" in page(empty_cast, "/brake/?tenant=acme", "operator")


def test_the_list_shows_what_is_paused_first(empty_cast: Cast, paused: BrakedSession) -> None:
    episode(empty_cast.acme, 2, state="slowed", until=None, changed_at=empty_cast.now)
    shown = page(empty_cast, "/brake/")
    assert "1 session" in shown
    assert shown.index("night &lt;job&gt;") < shown.index("run-2")
    assert "103 of them with near-identical prompts" in shown
    assert "$1.04" in shown


def test_the_link_shows_the_session_and_asks_for_a_sign_in(
    empty_cast: Cast,
    paused: BrakedSession,
    client: Client,
) -> None:
    assert client.get(link_to(paused)).status_code == 302
    shown = page(empty_cast, link_to(paused))
    assert "night &lt;job&gt;" in shown
    assert "0.6, paused from 1" in shown
    assert '<td class="num">1.01</td>' in shown
    assert "No call of it is stored near that time." in shown
    assert "Release: let its calls pass" not in shown  # Alice reads
    assert "Someone who is admin of Acme" in shown


def test_a_link_that_is_none_of_ours_leads_nowhere(empty_cast: Cast, paused: BrakedSession) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    assert alice.get(f"/brake/{paused.pk}{'0' * 32}/").status_code == 404
    assert alice.get("/brake/x/").status_code == 404


def test_a_stranger_sees_and_ends_nothing(empty_cast: Cast, paused: BrakedSession) -> None:
    charlie = empty_cast.as_(empty_cast.charlie)
    assert charlie.get(link_to(paused)).status_code == 404
    assert charlie.post(f"{link_to(paused)}end/", {"do": "release"}).status_code == 404
    assert "night" not in charlie.get("/brake/").content.decode()
    paused.refresh_from_db()
    assert paused.state == "paused"


def test_a_viewer_ends_nothing(empty_cast: Cast, paused: BrakedSession) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    assert alice.post(f"{link_to(paused)}end/", {"do": "release"}).status_code == 403
    assert alice.get(f"{link_to(paused)}end/").status_code == 405


def test_an_admin_releases_it_by_the_button(empty_cast: Cast, paused: BrakedSession) -> None:
    Membership.objects.filter(user=empty_cast.alice).update(role="admin")
    alice = empty_cast.as_(empty_cast.alice)
    assert "Release: let its calls pass" in alice.get(link_to(paused)).content.decode()
    answer = alice.post(f"{link_to(paused)}end/", {"do": "release"}, follow=True)
    assert "released" in answer.content.decode()
    assert "Release: let its calls pass" not in answer.content.decode()
    again = alice.post(f"{link_to(paused)}end/", {"do": "release"}, follow=True).content.decode()
    assert "It is not paused any more." in again
    entry = AuditEntry.objects.get(action="release")
    assert (entry.actor, entry.tenant) == ("alice", empty_cast.acme)


def test_its_calls_are_listed_with_their_cost(cast: Cast) -> None:
    row = episode(cast.acme, 3, session_id="agent-session")
    shown = page(cast, link_to(row))
    assert "Its newest calls" in shown
