"""Every rule, in order. An id never changes its meaning and is never used again."""

from __future__ import annotations

from netpol_gen.lint import addresses, cnis, hygiene, isolation, portrules, selection, usage
from netpol_gen.lint.model import Need, Rule
from netpol_gen.model import Severity

_INVENTORY = (Need.INVENTORY,)
_FLOWS = (Need.FLOWS,)
_BOTH = (Need.INVENTORY, Need.FLOWS)
_CNI = (Need.CNI,)

RULES: tuple[Rule, ...] = (
    Rule(
        "NPL001",
        "no-default-deny-ingress",
        Severity.WARNING,
        "A namespace has no default deny for ingress.",
        "A NetworkPolicy isolates only the pods that it selects. Without one that selects every pod, a new workload "
        "can be reached from everywhere, and so can an old one whose labels change.",
        isolation.no_default_deny_ingress,
    ),
    Rule(
        "NPL002",
        "no-default-deny-egress",
        Severity.WARNING,
        "A namespace has no default deny for egress.",
        "As NPL001, for connections that pods open. Egress is what a compromised pod needs first.",
        isolation.no_default_deny_egress,
    ),
    Rule(
        "NPL003",
        "rule-without-ports",
        Severity.WARNING,
        "A rule lists no ports.",
        "No ports means every port of every protocol, also those that the server opens next year.",
        portrules.rule_without_ports,
    ),
    Rule(
        "NPL004",
        "rule-without-peers",
        Severity.WARNING,
        "A rule lists no peers.",
        "No `from` or `to` means everyone: all pods of all namespaces, all nodes, and the world.",
        portrules.rule_without_peers,
    ),
    Rule(
        "NPL005",
        "policy-selects-nothing",
        Severity.WARNING,
        "A policy selects no pod.",
        "A selector that matches nothing protects nothing: a label was mistyped, or has changed since.",
        selection.policy_selects_nothing,
        _INVENTORY,
    ),
    Rule(
        "NPL006",
        "policy-selects-everything",
        Severity.WARNING,
        "A policy selects every pod by an empty, null or missing podSelector.",
        "An absent selector and an empty one both select the whole namespace. In a default deny that is meant; with "
        "rules it opens every pod, and when a template leaves the selector out it is an accident.",
        selection.policy_selects_everything,
    ),
    Rule(
        "NPL007",
        "peer-selects-nothing",
        Severity.WARNING,
        "A peer matches no pod.",
        "The connection that the rule was written for is denied, or its peer is gone and the rule waits for whoever "
        "takes that label next.",
        selection.peer_selects_nothing,
        _INVENTORY,
    ),
    Rule(
        "NPL008",
        "peer-selects-everything",
        Severity.WARNING,
        "A peer is every pod of the cluster, or has a null selector.",
        "`namespaceSelector: {}` is every namespace, also those of other teams; a null selector counts as absent.",
        selection.peer_selects_everything,
    ),
    Rule(
        "NPL009",
        "label-of-one-instance",
        Severity.ERROR,
        "A selector uses a label that changes on rollout, or from pod to pod.",
        "Labels such as pod-template-hash belong to one rollout, run or replica. After the next one the policy selects "
        "nothing, or the peer is locked out.",
        selection.selector_per_instance,
    ),
    Rule(
        "NPL010",
        "label-of-one-release",
        Severity.WARNING,
        "A selector uses a label that changes with the version or the chart.",
        "Labels such as app.kubernetes.io/version change with the next release of the same workload.",
        selection.selector_per_release,
    ),
    Rule(
        "NPL011",
        "named-port-undeclared",
        Severity.ERROR,
        "A named port means nothing on the pods that it is looked up on.",
        "Names are resolved on the server's pods, one by one; a pod that does not declare the name, or declares it for "
        "another protocol, does not match. On an ipBlock a name never matches.",
        portrules.named_port_undeclared,
    ),
    Rule(
        "NPL012",
        "service-port",
        Severity.ERROR,
        "A rule names a Service's port where the pods listen on another.",
        "Policies are applied to the connection as the pod sees it, after the Service was translated to a backend.",
        portrules.service_port,
        _INVENTORY,
    ),
    Rule(
        "NPL013",
        "udp-without-protocol",
        Severity.WARNING,
        "A port without protocol is TCP where UDP was likely meant.",
        "An absent protocol means TCP. DNS, NTP, syslog and others mostly use UDP.",
        portrules.protocol_missing,
    ),
    Rule(
        "NPL014",
        "ipblock-covers-pods",
        Severity.WARNING,
        "An ipBlock covers addresses of pods.",
        "ipBlocks are meant for addresses outside the cluster. Some CNIs match pods against them, others do not.",
        addresses.block_covers_pods,
    ),
    Rule(
        "NPL015",
        "ipblock-covers-services",
        Severity.WARNING,
        "An ipBlock covers addresses of Services.",
        "Most CNIs judge a connection after it was sent on to a backend, so that a Service's address never matches.",
        addresses.block_covers_services,
    ),
    Rule(
        "NPL016",
        "except-outside-cidr",
        Severity.ERROR,
        "An `except` does not lie strictly within its CIDR.",
        "The API server refuses the whole policy, and with it everything that it was to isolate.",
        addresses.except_outside,
    ),
    Rule(
        "NPL017",
        "world-on-sensitive-port",
        Severity.ERROR,
        "Everyone is admitted on a port that administers, debugs or stores.",
        "0.0.0.0/0, ::/0 or no peers at all, on ports such as SSH, the kubelet, etcd or a database.",
        addresses.world_sensitive,
    ),
    Rule(
        "NPL018",
        "metadata-reachable",
        Severity.WARNING,
        "An egress rule reaches the cloud's metadata address.",
        "169.254.169.254 and its kin hand the node's credentials to whoever asks. 0.0.0.0/0 covers them.",
        addresses.metadata_reachable,
    ),
    Rule(
        "NPL019",
        "rule-shadowed",
        Severity.INFO,
        "Another rule admits all that this one admits.",
        "The rule changes nothing, and whoever tightens it will wonder why. Told from the structure of selectors, so "
        "that it holds for pods of tomorrow.",
        usage.rule_shadowed,
    ),
    Rule(
        "NPL020",
        "rule-never-used",
        Severity.INFO,
        "No flow given needs the rule.",
        "What nobody uses is only there for whoever should not. The window may be too short: see `coverage`. Rules of "
        "a policy that has an edge of unknown verdict are not reported.",
        usage.rule_never_used,
        _FLOWS,
    ),
    Rule(
        "NPL021",
        "rule-too-broad",
        Severity.INFO,
        "Little of what a rule allows between workloads is used.",
        "Counted in connections: client workload, server workload, protocol, port. Of a rule without ports, those that "
        "the servers declare. `broad-below` sets the share (default 0.5).",
        usage.rule_too_broad,
        _BOTH,
    ),
    Rule(
        "NPL022",
        "endport-ignored",
        Severity.ERROR,
        "The chosen CNI ignores endPort.",
        "Then only the first port of the range is admitted, without a word.",
        cnis.end_port_ignored,
        _CNI,
    ),
    Rule(
        "NPL023",
        "named-port-ignored",
        Severity.ERROR,
        "The chosen CNI does not resolve port names.",
        "Depending on its version the rule then admits nothing or too much.",
        cnis.named_port_ignored,
        _CNI,
    ),
    Rule(
        "NPL024",
        "beyond-cni-limits",
        Severity.ERROR,
        "A rule has more than the chosen CNI takes.",
        "What exceeds a limit is refused or left out, often only in the agent's log.",
        cnis.beyond_limits,
        _CNI,
    ),
    Rule(
        "NPL025",
        "legacy",
        Severity.WARNING,
        "A legacy API version or annotation, which nothing reads.",
        "It looks like isolation and is none.",
        hygiene.legacy,
    ),
    Rule(
        "NPL026",
        "duplicate-name",
        Severity.ERROR,
        "Two documents have the same namespace and name.",
        "A cluster keeps one of them, whichever is applied last.",
        hygiene.duplicate_name,
    ),
    Rule(
        "NPL027",
        "invalid-policy",
        Severity.ERROR,
        "A NetworkPolicy that the API server would refuse.",
        "A refused policy isolates nothing.",
        hygiene.invalid_policy,
    ),
    Rule(
        "NPL028",
        "rules-ignored",
        Severity.ERROR,
        "Rules of a direction that policyTypes leaves out.",
        "Given explicitly, policyTypes decides; rules of another direction have no effect.",
        hygiene.rules_ignored,
    ),
    Rule(
        "NPL029",
        "host-network-subject",
        Severity.WARNING,
        "A policy selects only pods on their node's network.",
        "What policies do to such pods is undefined; in practice they are not isolated.",
        hygiene.host_network_subject,
        _INVENTORY,
    ),
    Rule(
        "NPL030",
        "unknown-suppression",
        Severity.WARNING,
        "A suppression names no rule.",
        "It suppresses nothing, and nobody would notice.",
        hygiene.unknown_suppression,
    ),
)

RULE_IDS: frozenset[str] = frozenset(rule.id for rule in RULES)
