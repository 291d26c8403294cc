"""Embeddings of code: permission, bounds, the model that the caller names, vectors.

Source: HTTP gateway contract, section 8.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.auth.scopes import require
from isthmus.core.errors import FieldError, Invalid, NotFound, Rejected
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Embeddings, ModelChoice, ModelMetadata
from isthmus.core.ports import Telemetry
from isthmus.routing.ask import EmbedAsk
from isthmus.routing.models import Models

FEATURE = "embeddings_code"
SCOPE = "generate_embeddings_codebase"
REFUSAL = f"Unauthorized to access {SCOPE}"
TEXTS_MOST = 2_048
TEXT_CHARS_MOST = 262_144
DIMENSIONS_MOST = 65_536


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts, and which model shall embed them; `field` is what the wire calls the texts.

    Without `model` the feature's own is taken; one that is named is taken, or none.
    """

    texts: Sequence[str]
    field: str = "contents"
    model: ModelMetadata | None = None
    dimensions: int | None = None
    drop_unsupported: bool = False


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the texts, and the model that made them."""

    embeddings: Embeddings
    choice: ModelChoice


class Embed:
    """Makes vectors for callers who may have them."""

    def __init__(self, models: Models, telemetry: Telemetry) -> None:
        self._models = models
        self._telemetry = telemetry

    async def vectors(self, request: EmbedRequest, caller: Caller, client: ClientInfo) -> Embedded:
        """One vector a text.

        Raises Forbidden, Invalid, Unavailable, or what the model raises.
        """
        require(caller, (SCOPE,), REFUSAL)
        self._telemetry.emit(FeatureUsed(SCOPE, caller, client))
        _check(request)
        choice = self._choose(self._models.of(caller.who), request.model)
        if not request.texts:
            return Embedded(Embeddings(()), choice)
        ask = EmbedAsk(
            feature=FEATURE,
            unit_primitive=SCOPE,
            texts=tuple(request.texts),
            dimensions=request.dimensions or None,
            drop_unsupported=request.drop_unsupported,
        )
        return Embedded(await self._models.embed(ask, choice, caller), choice)

    def _choose(self, models: Models, wanted: ModelMetadata | None) -> ModelChoice:
        """The model. Vectors of two models cannot be compared: nobody is given another one."""
        if wanted is None:
            return models.resolve(None, FEATURE)
        named = wanted.name or wanted.identifier
        try:
            choice = models.resolve(wanted, FEATURE)
        except NotFound as error:
            raise _unknown(named) from error
        except Rejected as error:
            fault = FieldError("model_metadata.endpoint", "may not be named")
            raise Invalid(error.detail, (fault,)) from error
        if choice.id != (named if wanted.provider == "gitlab" else wanted.name):
            raise _unknown(named)
        return choice


def _unknown(named: str) -> Invalid:
    reason = f"`{named[:100]}` is not a model that makes embeddings"
    fault = FieldError("model_metadata.identifier", reason)
    return Invalid(f"Error creating the model_metadata: {reason}", (fault,))


def _check(request: EmbedRequest) -> None:
    if len(request.texts) > TEXTS_MOST:
        raise _too_much(request.field, f"at most {TEXTS_MOST} texts")
    for index, text in enumerate(request.texts):
        if len(text) > TEXT_CHARS_MOST:
            raise _too_much(f"{request.field}[{index}]", f"at most {TEXT_CHARS_MOST} characters")
    if request.dimensions and not 0 < request.dimensions <= DIMENSIONS_MOST:
        raise _too_much("dimensions", f"from 1 to {DIMENSIONS_MOST}")


def _too_much(field: str, bound: str) -> Invalid:
    return Invalid(f"`{field}` must have {bound}.", (FieldError(field, f"must have {bound}"),))
