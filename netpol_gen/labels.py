"""Label keys that do not survive: never a base for selection. Writing avoids them, judging reports them.

Two kinds. *Per-instance* keys differ from pod to pod, from run to run or from rollout to rollout; nothing may select
on them, not even a Job's own selector. *Per-release* keys change with the next chart or image version; a selector is
never built on them, though a controller's own immutable selector may hold one that cannot be left out.
"""

from __future__ import annotations

_PER_INSTANCE = frozenset(
    {
        "apps.kubernetes.io/pod-index",
        "controller-revision-hash",
        "controller-uid",
        "deployment-hash",
        "job-name",
        "pod-name",
        "pod-template-generation",
        "pod-template-hash",
        "rollouts-pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
        "workflows.argoproj.io/workflow",
    }
)
_PER_INSTANCE_PREFIXES = (
    "batch.kubernetes.io/",
    "failure-domain.beta.kubernetes.io/",
    "gen:",
    "io.cilium.",
    "io.kubernetes.",
    "reserved:",
    "topology.istio.io/",
    "topology.kubernetes.io/",
    "kubernetes.io/hostname",
)
_PER_RELEASE = frozenset(
    {
        "app.kubernetes.io/created-by",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/version",
        "chart",
        "helm.sh/chart",
        "heritage",
        "istio.io/rev",
        "security.istio.io/tlsMode",
        "service.istio.io/canonical-revision",
        "sidecar.istio.io/inject",
    }
)
# Whatever the prefix, these name a build, a commit or a moment.
_PER_RELEASE_NAMES = frozenset(
    {
        "build",
        "build-id",
        "build-number",
        "buildid",
        "buildnumber",
        "checksum",
        "commit",
        "commit-sha",
        "config-hash",
        "date",
        "deployed-at",
        "digest",
        "generation",
        "git-commit",
        "git-revision",
        "git-sha",
        "gitcommit",
        "hash",
        "image",
        "image-tag",
        "pipeline-id",
        "revision",
        "sha",
        "tag",
        "timestamp",
    }
)


def per_instance(key: str) -> bool:
    """Whether the label tells pods, runs or rollouts of one workload apart."""
    return key in _PER_INSTANCE or key.startswith(_PER_INSTANCE_PREFIXES)


def per_release(key: str) -> bool:
    """Whether the label changes with the next version of the same workload."""
    name = key.rpartition("/")[2].lower().replace("_", "-")
    return key in _PER_RELEASE or name in _PER_RELEASE_NAMES or name.startswith("checksum-")


def volatile(key: str) -> bool:
    """Whether no selector may be built on this key."""
    return per_instance(key) or per_release(key)
