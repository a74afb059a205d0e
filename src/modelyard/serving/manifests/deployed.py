"""Deployed: a bundle, what its load needs and the image it runs as; every deployment file is made of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from modelyard.bundle.bundle import Bundle
from modelyard.core.names import slug
from modelyard.serving.capacity import Capacity
from modelyard.serving.guard.store import FILE
from modelyard.serving.manifests.callers import EVERYBODY, Callers
from modelyard.serving.manifests.outside import Outside

BUNDLE = "/srv/bundle"
STATE = "/var/lib/modelyard"
"""The workspace of a server in a container: what it may write, beside /tmp."""
LOG = f"{STATE}/predictions"
KEYS = f"{STATE}/{FILE}"
PORT = 8000
USER = 10001
_EXTRAS = {"store": "postgres", "issuer": "auth", "traces": "otel"}
"""By option of `Outside`."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A bundle as it is deployed.

    Attributes
    ----------
    bundle : Bundle
        What is served.
    needs : Capacity
        How many servers of what size.
    image : str
        The container image.
    outside : tuple of Outside
        What the server connects to.
    callers : Callers
        Who may call it.
    """

    bundle: Bundle
    needs: Capacity
    image: str
    outside: tuple[Outside, ...] = ()
    callers: Callers = EVERYBODY

    @property
    def name(self) -> str:
        """The model's name as files and objects take it."""
        return object_name(self.bundle)

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of modelyard that the server needs to reach what it connects to."""
        return tuple(_EXTRAS[place] for place in dict.fromkeys(p.option for p in self.outside) if place in _EXTRAS)

    @property
    def about(self) -> str:
        """One line that says which model this is."""
        manifest = self.bundle.manifest
        return f"{self.name}: bundle {self.bundle.hash[:12]} of run {manifest.lineage.run}."

    def commented(self, text: str, *lines: str) -> str:
        """Return a text under comments that say which model it serves, how it is used and what is to be filled in."""
        return "".join(f"# {line}\n" for line in (self.about, *lines)) + text

    def yaml(self, content: Any, *lines: str) -> str:
        """Return one object, or several of a sequence, as YAML under such comments."""
        many = content if isinstance(content, Sequence) else [content]
        text: str = yaml.dump_all(many, Dumper=_Plain, sort_keys=False, width=120)
        return self.commented(text, *lines)


class _Plain(yaml.SafeDumper):
    """YAML without anchors: what occurs twice is written twice, as people write it."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every object out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def object_name(bundle: Bundle) -> str:
    """Return the model's name as every Kubernetes object takes it: a Service's must start with a letter (RFC 1035)."""
    name = slug(bundle.manifest.name)
    return name if name[0].isalpha() else f"model-{name}"
