"""What is raised when the input, not the program, is at fault."""


class InputError(Exception):
    """Input that cannot be used.

    The message is one line for the person who gave the input: what is wrong, where, what was
    found, what is allowed, what to do. The command line prints it and exits with code 2.
    """
