"""What the bills of a re-pricing give as their reason: by it they are found again, and explained."""


def reasons_of(repricing_id: int) -> list[str]:
    """What the bills of a re-pricing give as their reason: its adjustments, what takes them back, its undoing."""
    return [applied(repricing_id), taken_back(repricing_id), undone(repricing_id)]


def applied(repricing_id: int) -> str:
    return f"re-pricing {repricing_id}"


def taken_back(repricing_id: int) -> str:
    return f"re-pricing {repricing_id}, its call is counted elsewhere"


def undone(repricing_id: int) -> str:
    return f"re-pricing {repricing_id} undone"
