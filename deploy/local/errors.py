"""The one error of the local stacks: its text is shown to the person as it is and says what to do next."""


class StackError(Exception):
    """The stack cannot start or stop as asked. The message names the cause and the remedy, in plain words."""
