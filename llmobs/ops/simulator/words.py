"""Text made of whole words, cheap to cut: a pool of words, of which any run is one slice of a string."""

from itertools import accumulate
from random import Random

POOL_WORDS = 16_384

# Common words of support and code conversations; four letters at least, so that a word is about as long as a token is.
VOCABULARY = """
account address again agent already amount answer apply around array assign attach author balance before between
billing board branch buffer build button cache call cancel change check choose class client close code column commit
compare config confirm contact contract copy count create credit current customer data date default delay delete
deliver detail device different double draft each early email empty enable error event every exact example except
expect export extend fail fetch field file filter final find first follow format forward found frame free from
function given good group guide handle help here history hold hour image import include index input inside instead
invoice issue item join keep label large last later layout least left length letter level library like limit line
link list load local login long loop lower mail main many mark match matter maybe mean measure member merge message
method minute mode model month more most move name near need network never next none note notice number object offer
often only open option order other output over owner package page paid parse part pass past payment period phone
place plan please point policy port post price print problem process product profile project proper query question
queue quick quote range rate reach read ready reason receive record reduce refund region release remain remove renew
repeat reply report request reset resolve response rest result retry return review right role round route rule same
sample save scale schema scope search second secure select send sequence series server service session settle shape
share ship short show side sign simple since single size small some sort source space split start state status step
still stock stop store stream string subject such support switch system table take target task team template term
test text thank that their them then there these they thing think this thread through ticket time title today
together token total track transfer tree trial turn type under unique unit until update upgrade upload upper usage
user valid value vector version view visit wait want warning week were what when where which while whole will window
with within without word work world write year your zone
"""


class Words:
    """A pool of words, the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        chosen = Random(seed).choices(VOCABULARY.split(), k=POOL_WORDS)  # noqa: S311 - filler, not secrets
        self._offsets = [0, *accumulate(len(word) + 1 for word in chosen + chosen)]
        self._text = " ".join(chosen + chosen) + " "

    def run(self, start: int, count: int) -> str:
        """`count` words in a row from the `start`-th on (round the pool), with one space after each word."""
        start %= POOL_WORDS
        whole, rest = divmod(count, POOL_WORDS)
        turn = self._text[self._offsets[start] : self._offsets[start + POOL_WORDS]] if whole else ""
        return turn * whole + self._text[self._offsets[start] : self._offsets[start + rest]]
