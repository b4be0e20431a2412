"""What network policies allow, by the rules of Kubernetes' documentation, evaluated without a network."""

from collections.abc import Iterable, Mapping
from typing import Any


def allows(
    policies: Iterable[Mapping[str, Any]],
    direction: str,
    pod: Mapping[str, Any],
    port: int,
    protocol: str = "TCP",
) -> bool:
    """Say whether a pod may open or take a connection.

    Args:
        policies: NetworkPolicy objects.
        direction: Egress or Ingress.
        pod: The pod, of which namespace and labels count.
        port: The other end's port (Egress), or the pod's own (Ingress).
        protocol: TCP or UDP.

    Returns:
        Whether a rule allows it, or no policy of this direction selects the pod.

    Raises:
        ValueError: A policy limits the other end, which is not evaluated here.
    """
    isolating = [
        policy for policy in policies if selects(policy, pod) and direction in policy["spec"]["policyTypes"]
    ]
    rules = [rule for policy in isolating for rule in policy["spec"].get(direction.lower()) or []]
    if unknown := {key for rule in rules for key in rule} - {"ports"}:
        raise ValueError(f"a rule has {', '.join(sorted(unknown))}; only ports are evaluated")
    return not isolating or any(_has(rule, port, protocol) for rule in rules)


def selects(policy: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Say whether a policy is about a pod."""
    selector = policy["spec"]["podSelector"]
    if set(selector) - {"matchLabels"}:
        raise ValueError(f"a selector has {', '.join(sorted(selector))}; only matchLabels are evaluated")
    labels = pod["metadata"].get("labels", {}).items()
    same_namespace = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return same_namespace and selector.get("matchLabels", {}).items() <= labels


def _has(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return ports is None or any(
        item.get("protocol", "TCP") == protocol and item.get("port", port) == port for item in ports
    )
