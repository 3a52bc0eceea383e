"""How a statement's answer is to come from PostgreSQL: said by the statement, which goes through other hands first."""


class AsBytes(str):
    """A statement whose answer the web's own engine gets in PostgreSQL's binary form; to all others it is a string.

    Bytes come as they are, where text spells them in twice as many: for megabytes of sketches that is half of the time.
    Columns are bytes, whole numbers or texts alone; it is fetched as a whole.
    """

    __slots__ = ()
