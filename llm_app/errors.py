"""Errors a person can mend. Each says what is wrong and what to do; everything else is a bug and goes up.

`status` and `code` follow the OpenAI error shape, so that page, API and command line show one sentence.
"""


class UserError(Exception):
    """The caller can mend this. `param` names the offending field where there is one.

    `message_zh`: the whole sentence for a Chinese reader of the page; empty: there the code is translated, and the
    English sentence follows.
    """

    status = 400
    code = "invalid_request"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_seconds: int | None = None, message_zh: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.message_zh = message_zh
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class ModelNotFound(UserError):
    """No model or adapter of that name."""

    status, code = 404, "model_not_found"


class ModelRejected(UserError):
    """The files are incomplete, unsafe or of a kind this program does not run."""

    code = "invalid_model"


class DoesNotFit(UserError):
    """The model needs more memory than is free."""

    code = "does_not_fit"


class ContextLengthExceeded(UserError):
    """Prompt (and what was insisted on after it) is longer than the context."""

    code = "context_length_exceeded"


class ModelBusy(UserError):
    """Another load is under way."""

    status, code = 409, "model_busy"


class QueueFull(UserError):
    """Admission is bounded; this request is over the bound."""

    status, code = 429, "queue_full"


class ModelLoading(UserError):
    """No model is ready yet, or none is loaded."""

    status, code = 503, "model_loading"


class EngineUnavailable(UserError):
    """The decoding worker failed repeatedly and was not restarted again."""

    status, code = 503, "engine_unavailable"


class ShuttingDown(UserError):
    """The server is on its way out."""

    status, code = 503, "shutting_down"


class GenerationFailed(UserError):
    """The model could not go on: invalid numbers, or a fault in the middle of a reply."""

    status, code = 500, "internal_error"


class NotEnoughMemory(GenerationFailed):
    """What was asked did not fit into the memory that was free; less at once, or later, it may."""


class InvalidNumbers(GenerationFailed):
    """NaN or infinity where the model should give probabilities; it would do so again."""


class ModelIsRemote(UserError):
    """What was asked for needs a model on this machine, and the one that answers is on another server."""

    code = "model_is_remote"


class RemoteFailed(UserError):
    """Another server did not do what it was asked."""

    status, code = 502, "remote_failed"


class Cancelled(UserError):
    """The person stopped it."""

    status, code = 409, "cancelled"
