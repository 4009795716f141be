"""Every fault that ``meta`` raises, one class per fault, so that callers can answer each in its own words."""


class MetaError(Exception):
    """Root of the faults of this package; the message states the rule, the field and the value."""


class InvalidRecipe(MetaError):
    """A recipe or setting of a method is outside its allowed range."""


class InvalidColumns(MetaError):
    """A table does not have the columns, kinds or ranges that the encoder was fitted on."""


class InvalidEpisode(MetaError):
    """A support or query set is empty, of the wrong shape or not finite."""


class CorruptArtifact(MetaError):
    """Stored weights do not match their hash, architecture or schema, or are not finite."""


class TrainingDiverged(MetaError):
    """The outer loss became NaN or infinite; no theta was made."""
