"""What network policies allow, by the rules of Kubernetes' documentation, evaluated without a network."""

from collections.abc import Iterable, Mapping
from typing import Any


def allows(
    policies: Iterable[Mapping[str, Any]],
    direction: str,
    pod: Mapping[str, Any],
    port: int,
    protocol: str = "TCP",
    other: Mapping[str, Any] | None = None,
) -> bool:
    """Say whether a pod may open or take a connection.

    Args:
        policies: NetworkPolicy objects.
        direction: Egress or Ingress.
        pod: The pod, of which namespace and labels count.
        port: The other end's port (Egress), or the pod's own (Ingress).
        protocol: TCP or UDP.
        other: The pod at the other end; None for what is no pod of the cluster.

    Returns:
        Whether a rule allows it, or no policy of this direction selects the pod.

    Raises:
        ValueError: A policy has something that is not evaluated here.
    """
    isolating = [
        policy for policy in policies if selects(policy, pod) and direction in policy["spec"]["policyTypes"]
    ]
    rules = [rule for policy in isolating for rule in policy["spec"].get(direction.lower()) or []]
    if unknown := {key for rule in rules for key in rule} - {"ports", "from", "to"}:
        raise ValueError(f"a rule has {', '.join(sorted(unknown))}; ports and pods are evaluated")
    return not isolating or any(_has(rule, port, protocol) and _reaches(rule, pod, other) for rule in rules)


def selects(policy: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Say whether a policy is about a pod."""
    return _matches(policy["spec"]["podSelector"], policy["metadata"]["namespace"], pod)


def _matches(selector: Mapping[str, Any], namespace: str, pod: Mapping[str, Any]) -> bool:
    """Whether a selector of a namespace's policy selects a pod."""
    if set(selector) - {"matchLabels"}:
        raise ValueError(f"a selector has {', '.join(sorted(selector))}; only matchLabels are evaluated")
    labels = pod["metadata"].get("labels", {}).items()
    same_namespace = namespace == pod["metadata"]["namespace"]
    return same_namespace and selector.get("matchLabels", {}).items() <= labels


def _reaches(rule: Mapping[str, Any], pod: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
    """Whether a rule allows the other end."""
    peers = rule.get("from") or rule.get("to")
    if peers is None:
        return True
    if unknown := {key for peer in peers for key in peer} - {"podSelector"}:
        raise ValueError(f"a peer has {', '.join(sorted(unknown))}; only podSelector is evaluated")
    namespace = pod["metadata"]["namespace"]
    return other is not None and any(_matches(peer["podSelector"], namespace, other) for peer in peers)


def _has(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return ports is None or any(
        item.get("protocol", "TCP") == protocol and item.get("port", port) == port for item in ports
    )
