"""What a judge answers: scores for its criteria, the same for the same text."""

from hashlib import sha256

import msgspec

PASSES_FROM = 7  # a judge's overall score
MIDDLE_SCORE, BEST_SCORE = 5, 10


def verdict(criteria: tuple[str, ...], judged: str) -> str:
    """A judge's verdict as JSON, the same for the same criteria and text; scores spread over 5 to 10."""
    scored = [(criterion, _score(criterion, judged)) for criterion in criteria]
    overall = round(sum(score for _, score in scored) / len(scored)) if scored else _score("", judged)
    worst = min(scored, key=lambda one: one[1])[0] if scored else "the answer"
    passes = overall >= PASSES_FROM
    whole = {
        "criteria": [
            {"criterion": criterion, "score": score, "reason": f"The answer earns {score} of 10 here."}
            for criterion, score in scored
        ],
        "overall": overall,
        "verdict": "PASS" if passes else "FAIL",
        "reasoning": f"{'Good enough' if passes else 'Not good enough'} on the whole; weakest: {worst}.",
    }
    return msgspec.json.encode(whole).decode()


def _score(criterion: str, judged: str) -> int:
    digest = sha256(f"{criterion}\0{judged}".encode()).digest()
    # Two draws, the better counts: most answers are good, some are not.
    spread = BEST_SCORE - MIDDLE_SCORE + 1
    return MIDDLE_SCORE + max(digest[0] % spread, digest[1] % spread)
