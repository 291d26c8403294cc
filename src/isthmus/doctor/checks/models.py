"""Every model that a feature would use: one call of one token each, as the server would make it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.app.library import LIBRARY
from isthmus.app.models import Means, ModelLayer
from isthmus.core.errors import (
    Failure,
    MisconfiguredProvider,
    NotFound,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
)
from isthmus.core.messages import (
    Chat,
    EmbedCall,
    Gathering,
    Infill,
    Message,
    ModelCall,
    Text,
    Tuning,
    gather,
)
from isthmus.core.ports import ModelProvider
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.reach import place_of, reason_of
from isthmus.routing.catalogue import CatalogueError, Kind, parse_catalogue
from isthmus.routing.deployment import Deployment, deployments, doors
from isthmus.routing.plan import candidates
from isthmus.settings import Settings, SettingsError

FREE: Final = frozenset({"local", "scripted", "amazon_q", "custom"})
"""Providers that call nobody, or only whom a request names."""
CALLS: Final = 24
KEYS: Final[Mapping[str, str]] = {
    "bedrock": "providers.bedrock.bearer_token",
    "vertex": "providers.vertex.credentials_file",
}
_QUESTION: Final = Chat((Message("user", (Text("Say yes."),)),))
_TOO_FEW: Final = re.compile(rb"(?i)max[a-z_ ]{0,20}tokens")
_CODE: Final = Infill("def add(a, b):\n    return ", "\n", "a.py", "python")


class Trial(Struct, frozen=True):
    """A place where a model is served, a feature that would use it, and how."""

    deployment: Deployment
    feature: str
    kind: Kind


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each place of each model that may be asked."""
    limiter = InProcessLimiter(case.clock)
    data = await asyncio.to_thread((LIBRARY / "models.yml").read_bytes)
    try:
        means = Means(data, case.outbound, limiter, case.clock, case.telemetry)
        # `mock` would answer in every model's place.
        real = case.settings.models.model_copy(update={"mock": False})
        settings = case.settings.model_copy(update={"models": real})
        layer = await asyncio.to_thread(ModelLayer, settings, means)
        trials = await asyncio.to_thread(_trials, settings, data, layer)
    except (SettingsError, CatalogueError) as error:
        path, _, cause = str(error).partition(": ")
        return [Subject("models", path).fail(cause, path, "isthmus config check")]
    if not trials:
        subject = Subject("models", "providers.*")
        return [subject.skip("none is set: the local floor and the scripted tour answer")]
    provider = layer.models.known
    looks = (_one(case, each, provider(each.deployment.door)) for each in trials[:CALLS])
    return await asyncio.gather(*looks)


def _trials(settings: Settings, data: bytes, layer: ModelLayer) -> list[Trial]:
    """Each place once. Blocking: the list of models is read again."""
    given = settings.models, settings.providers.openai, settings.routing.deployments
    catalogue = parse_catalogue(data, *given)
    names = {model.provider for model in catalogue.models.values()} | set(doors(catalogue.models))
    known = {name: layer.models.known(name) for name in names}
    configured = {name for name, one in known.items() if one is not None and one.configured}
    found: dict[tuple[str, str, str], Trial] = {}
    for feature in catalogue.features.values():
        try:
            choice = candidates(catalogue, feature.feature, None, configured)[0]
        except (NotFound, Unavailable):
            continue
        for place in deployments(catalogue, choice, configured):
            if place.choice.provider not in FREE:
                target = place.choice.target
                key = place.door, place.choice.upstream, "" if target is None else target.base_url
                found.setdefault(key, Trial(place, feature.feature, feature.kind))
    return list(found.values())


async def _one(case: Case, trial: Trial, provider: ModelProvider | None) -> Finding:
    place = trial.deployment
    model = place.choice.upstream or "its first model"
    subject = Subject(f"models.{place.door}", f"{model} (for {trial.feature})")
    setting = _setting(trial)
    if provider is None:
        return subject.fail("no provider of that name is set", setting, "isthmus config show")
    try:
        got = await _asked(case, trial, provider)
    except Failure as error:
        plain = _plain_type(case, trial)
        if plain:
            return _not_streaming(subject, setting)
        return _failed(case, subject, trial, error)
    if trial.kind != "embedding" and _plain_type(case, trial):
        return _not_streaming(subject, setting)
    return subject.ok("key accepted, model present" + (", streaming" if got else ""))


async def _asked(case: Case, trial: Trial, provider: ModelProvider) -> bool:
    """One call. Whether it streamed. Raises Failure."""
    choice = trial.deployment.choice
    if trial.kind == "embedding":
        call = EmbedCall(choice.upstream, ("a",), target=choice.target, alone=False)
        await provider.embed(call, case.deadline())
        return False
    prompt = _CODE if trial.kind == "infill" and choice.fills else _QUESTION
    # Reasoning has limits of its own, and one token is below them.
    tuning = Tuning(fim_format=choice.tuning.fim_format, headers=choice.tuning.headers)
    call = ModelCall(choice.upstream, prompt, 1, tuning=tuning, target=choice.target, alone=False)
    await gather(provider.stream(call, case.deadline()), Gathering())
    return True


def _plain_type(case: Case, trial: Trial) -> bool:
    """Whether the provider answered a question for a stream in one piece."""
    host = place_of(_base(case, trial))
    types = [kind for url, kind in case.outbound.types.items() if place_of(url) == host]
    return any(kind.partition(";")[0].strip() == "application/json" for kind in types)


def _not_streaming(subject: Subject, setting: str) -> Finding:
    cause = "it answers a request for a stream in one piece: nothing is shown until all is done"
    mend = "switch streaming on at that server, or take the proxy that buffers from before it"
    return subject.fail(cause, setting, mend)


def _failed(case: Case, subject: Subject, trial: Trial, error: Failure) -> Finding:
    key = _key(trial)
    if isinstance(error, MisconfiguredProvider):
        wrong = _setting(trial) if "URL" in error.detail else key
        return subject.fail(error.detail, wrong, f"set {wrong} as docs/reference/settings.md says")
    if isinstance(error, UpstreamLimited):
        return subject.warn("the provider asks us to slow down", key, "have its limit raised")
    told = _refusal(case, subject, trial, error) if isinstance(error, UpstreamFailed) else None
    if told is not None:
        return told
    reason = reason_of(error, _base(case, trial), _setting(trial))
    return subject.fail(reason.cause, reason.setting, reason.mend)


def _refusal(case: Case, subject: Subject, trial: Trial, error: UpstreamFailed) -> Finding | None:
    """What the status of an answer says; None when it says nothing of us."""
    status, key = error.status, _key(trial)
    if status in {401, 403}:
        cause = f"the provider refuses our key (status {status})"
        return subject.fail(cause, key, f"have a new key made there, and set {key}")
    if status == 402:
        return subject.fail("the account there has no credit", key, "add credit there")
    if status == 404:
        return _absent(case, subject, trial, error)
    if status == 400 and _TOO_FEW.search(error.body):
        return subject.ok("key accepted, model present; it answers with more than one token alone")
    return None


def _key(trial: Trial) -> str:
    """The setting that holds the provider's key."""
    provider = trial.deployment.choice.provider
    return KEYS.get(provider, f"providers.{provider}.api_key")


def _absent(case: Case, subject: Subject, trial: Trial, error: UpstreamFailed) -> Finding:
    """Either the model is not there, or nothing is."""
    if b"model" not in error.body.lower():
        setting = _setting(trial)
        cause = f"nothing is there that answers such calls: {_base(case, trial)} (status 404)"
        return subject.fail(cause, setting, f"correct the path of {setting}: is /v1 missing?")
    setting = _model_setting(case, trial)
    model = trial.deployment.choice.upstream
    cause = f"the provider has no model `{model}`, or this account may not use it"
    return subject.fail(cause, setting, f"set {setting} to a model that is served there")


def _setting(trial: Trial) -> str:
    """The setting that says where this model is called."""
    place = trial.deployment
    provider = place.choice.provider
    if place.choice.target is not None and place.choice.target.base_url:
        return f"routing.deployments.{place.name}.base_url"
    kinds: Mapping[str, Literal["endpoint", "region"]] = {"vertex": "endpoint", "bedrock": "region"}
    return f"providers.{provider}.{kinds.get(provider, 'base_url')}"


def _model_setting(case: Case, trial: Trial) -> str:
    own = case.settings.providers.openai
    if trial.deployment.choice.provider == "openai" and (own.model or own.completion_model):
        infill = trial.kind == "infill" and own.completion_model
        return "providers.openai.completion_model" if infill else "providers.openai.model"
    return f"models.defaults.{trial.feature}"


def _base(case: Case, trial: Trial) -> str:
    target = trial.deployment.choice.target
    if target is not None and target.base_url:
        return target.base_url
    provider = trial.deployment.choice.provider
    own = getattr(case.settings.providers, provider, None)
    return str(
        getattr(own, "base_url", "") or getattr(own, "endpoint", "") or f"https://{provider}"
    )
