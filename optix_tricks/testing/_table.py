"""What a contract found: one row a column, readable as text and as data."""

import dataclasses

PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "not applicable"
WIDEST = 200  # characters of an error


@dataclasses.dataclass(frozen=True)
class Row:
    """What one column found.

    Attributes:
      column: its name.
      outcome: "pass", "fail" or "not applicable".
      reason: the error in one line, or why the column is not applicable.
      reproduction: one line of Python that shows the failure, after `testing.IMPORTS`.
      error: what was raised, for whoever wants its traceback.
    """

    column: str
    outcome: str
    reason: str = ""
    reproduction: str = ""
    error: Exception | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Table:
    """What all columns found of one subject. `str` of it is the table as text.

    Attributes:
      subject: its name, such as `optax.adam(learning_rate=0.1)`.
      rows: one a column, in the order in which they ran.

    >>> rows = Row("jit_equals_eager", "pass"), Row("pmap", "not applicable", "1 device")
    >>> print(Table("mine()", rows))
    mine(): 1 pass, 0 fail, 1 not applicable
      jit_equals_eager  pass
      pmap              not applicable  1 device
    """

    subject: str
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether no column failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return self._of(FAIL)

    @property
    def not_applicable(self) -> tuple[Row, ...]:
        """The rows of columns that could not be asked, each with its reason."""
        return self._of(NOT_APPLICABLE)

    def assert_passed(self) -> None:
        """Raise an AssertionError of the failures if there are any."""
        if not self.passed:
            lines = (f"{row.reason}\n>>> {row.reproduction}" for row in self.failures)
            raise AssertionError("\n".join(lines)) from self.failures[0].error

    def _of(self, outcome: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome == outcome)

    def __getitem__(self, column: str) -> Row:
        """The row of a column, by its name."""
        return {row.column: row for row in self.rows}[column]

    def __str__(self) -> str:
        counts = (f"{len(self._of(x))} {x}" for x in (PASS, FAIL, NOT_APPLICABLE))
        lines = [f"{self.subject}: {', '.join(counts)}"]
        name = max((len(row.column) for row in self.rows), default=0)
        outcome = max((len(row.outcome) for row in self.rows), default=0)
        for row in self.rows:
            line = f"  {row.column:{name}}  {row.outcome:{outcome}}  {row.reason}"
            lines.append(line.rstrip())
            if row.reproduction:
                lines.append(f"  {'':{name}}  >>> {row.reproduction}")
        return "\n".join(lines)


def one_line(error: BaseException) -> str:
    r"""An error's type and what it says, in one line.

    >>> one_line(ValueError("two\n lines"))
    'ValueError: two lines'
    >>> one_line(AssertionError("0.1 is not 0.2"))
    '0.1 is not 0.2'
    """
    text = " ".join(str(error).split())
    if len(text) > WIDEST:
        text = f"{text[:WIDEST]}..."
    if type(error) is AssertionError and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
