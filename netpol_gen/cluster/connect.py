"""Finding the API server and credentials for it, as kubectl does: kubeconfig, context, plugins, proxies, in-cluster.

The official client reads kubeconfig files, runs credential plugins and knows proxies; nothing it learns on the way
(a refreshed token) is written back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, kube_config, load_incluster_config

from netpol_gen.cluster.kinds import KINDS
from netpol_gen.errors import InputError, OptionError, Place, printable

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and who asks. `headers` are sent with every request beside the credentials'."""

    host: str
    pool: urllib3.PoolManager
    configuration: Any
    namespace: str = DEFAULT_NAMESPACE
    """The context's namespace: all that can be asked about where nothing may be listed cluster-wide."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    has_credentials: bool = True

    def credentials(self) -> dict[str, str]:
        """Headers that say who asks, fresh ones if the old have run out."""
        return {
            str(setting["key"]): str(setting["value"])
            for setting in self.configuration.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }

    def close(self) -> None:
        """Close idle connections."""
        self.pool.clear()


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster: `--kubeconfig` and `--context`; `None` means what kubectl would take."""

    kubeconfig: str | None = None
    context: str | None = None

    def open(self) -> Connection:
        """A connection; called again, it reads the files and asks the plugins again.

        Raises:
            InputError: a kubeconfig that cannot be used.
            OptionError: no kubeconfig, and not inside a cluster either.

        """
        path = self.kubeconfig or str(kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
        if not any(Path(p).expanduser().is_file() for p in path.split(os.pathsep) if p):
            if self.kubeconfig:
                raise InputError("cannot be opened: no such file", Place(self.kubeconfig))
            return self._inside()
        return self._from_file(path)

    def _inside(self) -> Connection:
        """The service account of the pod this runs in."""
        if self.context:
            raise OptionError(f"--context {printable(self.context)}: no kubeconfig file was found")
        configuration: Any = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)
        except ConfigException as error:
            raise OptionError(
                f"no kubeconfig file was found, and this is no pod of a cluster ({printable(error)}): --kubeconfig"
            ) from None
        return _connection(configuration, {}, DEFAULT_NAMESPACE)

    def _from_file(self, path: str) -> Connection:
        configuration: Any = Configuration()
        try:
            merged = kube_config.KubeConfigMerger(path).config
            loader = kube_config.KubeConfigLoader(merged, active_context=self.context, config_base_path=None)
            loader.load_and_set(configuration)
            context = loader.current_context["context"]
            user = _user(merged, context.get("user"))
        except (ConfigException, yaml.YAMLError) as error:
            raise InputError(f"cannot be used: {printable(error, 300)}", Place(path)) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The client takes the file's shape for granted.
            raise InputError(f"is no kubeconfig: {printable(error, 300)}", Place(path)) from None
        except OSError as error:
            raise InputError(f"cannot be used: {printable(error, 300)}", Place(path)) from None
        return _connection(configuration, _impersonation(user), str(context.get("namespace") or DEFAULT_NAMESPACE))


def _user(merged: Any, name: str | None) -> Mapping[str, Any]:
    for entry in merged.value.get("users") or []:
        value = getattr(entry, "value", entry)
        if value.get("name") == name:
            found = value.get("user")
            return found if isinstance(found, dict) else {}
    return {}


def _impersonation(user: Mapping[str, Any]) -> dict[str, str]:
    """`as` of the user entry, which the client leaves out: without it a run would have more rights than was asked for.

    Raises:
        OptionError: groups or extras, which need headers that repeat.

    """
    if user.get("as-groups") or user.get("as-user-extra"):
        raise OptionError("as-groups and as-user-extra of a kubeconfig are not supported; use a context without them")
    headers = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid")}
    return {name: str(value) for name, value in headers.items() if value}


def _connection(configuration: Any, headers: Mapping[str, str], namespace: str) -> Connection:
    # The client's own retries know nothing of Retry-After budgets; `netpol_gen.cluster.http` does it.
    configuration.retries = False
    # A watch holds one connection per list.
    configuration.connection_pool_maxsize = 2 * len(KINDS)
    pool = ApiClient(configuration=configuration).rest_client.pool_manager
    known = bool(configuration.api_key or configuration.cert_file)
    agent = {"User-Agent": "netpol-gen", "Accept": "application/json", **headers}
    return Connection(configuration.host.rstrip("/"), pool, configuration, namespace, MappingProxyType(agent), known)
