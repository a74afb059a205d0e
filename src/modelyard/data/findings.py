"""placeholder"""

from __future__ import annotations
from modelyard.brief.brief import Brief
from modelyard.data.dataset import Parts
from modelyard.data.finding import Finding


def findings(parts: Parts, brief: Brief) -> tuple[Finding, ...]:
    """Return what reading and splitting noticed."""
    return parts.development.notes
