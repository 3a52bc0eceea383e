"""The proof that budgets cannot be overspent, short: `make bench` and docs/proof.md have the long one."""

from tests.bench.proof import Trial, prove
from tests.bench.proof_plan import kills

TRIAL = Trial(seconds=20, seed=11, gateways=3, streams=60)


def test_no_budget_is_overspent_and_every_answer_is_billed_once_whatever_dies() -> None:
    """PAINS 1, 2, 3: concurrent calls, of users never seen before too, never pass a limit, and no increment is lost.
    PAINS 9, 26: who leaves in the middle is billed, each attempt by itself. PAINS 50: enforcement needs no projection.
    """
    found = prove(TRIAL)
    assert not found.failures, f"\n{found}"
    figures = found.figures
    assert set(figures["kills"]) == {kind for kill in kills(TRIAL.seconds, TRIAL.seed) for kind in kill.kinds}
    assert set(figures["kills"]) == {"gateway", "writer", "valkey", "postgres"}
    tried = ("answered calls, each billed as the provider did", "refusals by a budget", "observations")
    assert all(figures[name] > 0 for name in tried), f"\n{found}"
