"""What the person at the terminal can put right: told in one line, without a traceback."""


class UserFault(Exception):
    """Root of such faults; the message says what is wrong and what to do."""


class UnusableTable(UserFault):
    """A file cannot be read, lacks a column, or holds too little."""


class PortTaken(UserFault):
    """Something else listens on the port."""


class UnusableDatabase(UserFault):
    """There is no database, it is of another kind, or its tables are not those of this version."""


class ServiceDidNotStart(UserFault):
    """The service ended before it took requests."""


class UnusableSetting(UserFault):
    """A setting, in the environment or of a command, breaks its rules."""
