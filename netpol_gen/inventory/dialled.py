"""What stands behind an address and a port in the course of time.

Services change: a target port, a selector, the owner of an address. Between two looks that differ nobody knows which
of them a client met; then there is more than one answer, and who asks must see whether they come to the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netpol_gen.inventory.base import Inventory
from netpol_gen.inventory.objects import Backend, Endpoints, Labels, Pod, Service, ServicePort
from netpol_gen.inventory.targets import Target, ended_by, host_ports, on_pod, target_key, there
from netpol_gen.inventory.versions import Version, Versions, changes, possible
from netpol_gen.model import Protocol
from netpol_gen.sets import Address

Targets = tuple[Target, ...]

_EVER = (-(2**62), 2**62)
"""Before and after every time."""
_FEW, _MANY = 8, 256
"""So many pods are looked at one by one; of several workloads more, which differ in which of them is ready when."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What may have stood there at one time."""

    forms: tuple[tuple[int, ...], ...]
    """By object, which of its versions were possible."""
    answers: tuple[tuple[Targets, ...], ...]
    """By object, where it led in each of them; one at least."""
    owned: bool
    """Whether there may have been anything that leads on from that address."""


@dataclass(frozen=True, slots=True)
class _Selected:
    """The pods that a Service selects at any time."""

    pods: tuple[Pod, ...]
    kinds: tuple[int, ...]
    """A number for each pod; those of one number lead to the same workload and ports."""

    @property
    def alike(self) -> bool:
        """Whether all are of one kind."""
        return len(set(self.kinds)) < 2

    @property
    def singly(self) -> bool:
        """Whether each one matters by itself: its life, and whether it is ready."""
        return len(self.pods) <= _FEW or (not self.alike and len(self.pods) < _MANY)

    @property
    def by_slices(self) -> bool:
        """Whether it matters which are ready."""
        return self.singly and not self.alike

    @classmethod
    def of(cls, pods: Sequence[Pod]) -> _Selected:
        numbers: dict[object, int] = {}
        return cls(tuple(pods), tuple(numbers.setdefault(_kind(pod), len(numbers)) for pod in pods))

    def moments(self) -> Iterator[int]:
        """Times from which a pod is there or no more, or perhaps no more, or else the first or last of its kind."""
        lives: dict[int, list[tuple[int | None, int | None]]] = {}
        sure: dict[int, list[tuple[int | None, int | None]]] = {}
        singly = self.singly
        for number, (pod, kind) in enumerate(zip(self.pods, self.kinds, strict=True)):
            key = number if singly else kind
            lives.setdefault(key, []).append((pod.started, ended_by(pod)))
            sure.setdefault(key, []).append((pod.started, _sure_until(pod)))
        for found in (*lives.values(), *sure.values()):
            yield from _union(found)

    def there(self, time: int) -> list[Pod]:
        """The pods that were there, or else one of each kind; those that may have gone by then if there is no other."""
        pods = [(pod, kind) for pod, kind in zip(self.pods, self.kinds, strict=True) if there(pod, time)]
        sure = [(pod, kind) for pod, kind in pods if _sure(pod, time)]
        found = sure or pods
        return [pod for pod, _ in found] if self.singly else list({kind: pod for pod, kind in reversed(found)}.values())


def _sure_until(pod: Pod) -> int | None:
    """Until when a pod was there for sure, `None` for the end."""
    if pod.unsure_from is not None or pod.ended is not None or pod.live:
        return pod.ended if pod.unsure_from is None else pod.unsure_from
    # Completed at an unknown time.
    return _EVER[0] if pod.started is None else pod.started


def _sure(pod: Pod, time: int) -> bool:
    until = _sure_until(pod)
    return until is None or time <= until


def _kind(pod: Pod) -> object:
    families = frozenset(address.version for address in pod.addresses)
    return (pod.workload, pod.addresses if pod.host_network else families, pod.ports, pod.template, pod.observed)


class Dialled:
    """One address and port, as of any time. `guard` (nanoseconds) is how far clocks may disagree."""

    def __init__(
        self,
        inventory: Inventory,
        address: Address,
        port: int,
        protocol: Protocol,
        guard: int,
        family: int | None = None,
    ) -> None:
        """`family` (4 or 6) is that of the backends, by default that of `address`."""
        self._inventory = inventory
        self._address, self._port, self._protocol, self._guard = address, port, protocol, guard
        self._family = family or address.version
        index, node = inventory.index, inventory.node_at(address)
        self._node = node if node is not None and address in node.addresses else None
        found = {id(each): each for each in index.ever_at.get(address, ())}
        if self._node is not None:
            found |= {id(each): each for each in index.ever_on_nodes.get((port, protocol), ())}
        self._services = list(found.values())
        self._pods = self._selections()
        """By version, of those that have the port: of a port that a sweep tries nothing needs to be known."""
        self._forms: list[int] = sorted({t for each in self._services for t in self._service_changes(each)})
        hosts = [p for p in index.by_host_port.get((port, protocol), ()) if self._node and p.node == self._node.name]
        selected = {id(each): each for each in self._pods.values()}.values()
        self._told: dict[tuple[int, ServicePort], Targets] = {}
        """By version of a slice where it leads, if that is so at any time."""
        listed = self._without_selector()
        self._many = sum(max(len(version.value.backends) for version in each) for each in listed) > _MANY
        self.singly: bool = not self._many and all(each.singly for each in selected)
        """Whether the pods of an answer are the ones that were there, and not just some of their workload."""
        times = {t for each in selected for t in each.moments()}
        times.update(t for pod in hosts for t in _moments(pod))
        backends = dict.fromkeys(b for each in listed for version in each for b in version.value.backends)
        times.update(t for b in backends if self._varies(b) for pod in self._holders(b) for t in _moments(pod))
        for each in self._services:
            if any(id(version) in self._pods and self._pods[id(version)].by_slices for version in each):
                times.update(self._slice_changes(each))
        self.moments: list[int] = sorted(t for t in times.union(self._forms) if _EVER[0] < t <= _EVER[1])
        """Times from which there may be another answer, ascending."""
        self._known: dict[int, Answer] = {}

    def at(self, time: int) -> Answer:
        """What may have stood there."""
        place = bisect_right(self.moments, time)
        if place not in self._known:
            self._known[place] = self._answer(time)
        return self._known[place]

    def between(self, first: int, last: int) -> list[Answer]:
        """The answers at both times, and those between them that differ in more than the pods that were there."""
        low, high = bisect_right(self._forms, first), bisect_right(self._forms, last)
        return [self.at(time) for time in dict.fromkeys((first, *self._forms[low:high], last))]

    def _answer(self, time: int) -> Answer:
        forms, answers, owned, sure = [], [], False, []
        for service in self._services:
            found, absent = possible(service, time, self._guard)
            options = {option for version in found for option in self._led(version, time)}
            if absent or not found:
                options.add(())
            holds = [self._holds(version.value) for version in found]
            owned = owned or any(holds)
            forms.append(tuple(v.looked or 0 for v in found))
            answers.append(tuple(sorted(options, key=lambda option: [*map(target_key, option)])))
            sure.append(all(holds) and len(found) == 1 and found[0].sure(time, -self._guard))
        if sum(sure) == 1 and any(self._address in v.value.cluster_ips for v in self._services[sure.index(True)]):
            # One Service at a time has a cluster IP: where one has it for sure, another that may have is gone.
            one = sure.index(True)
            forms, answers = [forms[one]], [answers[one]]
        if self._node is not None:
            pods = host_ports(self._inventory, self._node, self._port, self._protocol, self._family, time)
            answers.append(_one_at_a_time(list(pods), time))
            owned = True
        return Answer(tuple(forms), tuple(answers), owned)

    def _holds(self, service: Service) -> bool:
        return self._address in service.cluster_ips or self._address in service.external_ips or self._node is not None

    def _ports(self, service: Service) -> Iterator[ServicePort]:
        """The ports of a Service that a client reaches here."""
        if self._address in service.cluster_ips or self._address in service.external_ips:
            yield from (p for p in service.ports if (p.port, p.protocol) == (self._port, self._protocol))
        if self._node is not None:
            yield from (p for p in service.ports if (p.node_port, p.protocol) == (self._port, self._protocol))

    def _led(self, version: Version[Service], time: int) -> set[Targets]:
        """Where one form of a Service may have led."""
        service = version.value
        found: dict[Target, None] = {}
        perhaps: dict[Target, None] = {}
        for port in self._ports(service):
            if service.selector:
                for pod in self._serving(version, time):
                    found.update(dict.fromkeys(on_pod(pod, port, self._family)))
                continue
            # Without a selector only what its endpoints say.
            for each in self._slices(service):
                options = self._listed(each, port, time)
                (found if len(options) == 1 else perhaps).update((t, None) for option in options for t in option)
        return {_sorted(found), _sorted(found | perhaps)}

    def _selections(self) -> dict[int, _Selected]:
        made: dict[tuple[str, Labels], _Selected] = {}
        out = {}
        for version in (version for each in self._services for version in each):
            service = version.value
            if service.selector and any(True for _ in self._ports(service)):
                key = (service.namespace, service.selector)
                if key not in made:
                    made[key] = _Selected.of(self._inventory.index.pods_with(*key))
                out[id(version)] = made[key]
        return out

    def _slices(self, service: Service) -> Sequence[Versions[Endpoints]]:
        return self._inventory.index.ever_endpoints.get(f"{service.namespace}/{service.name}", ())

    def _without_selector(self) -> list[Versions[Endpoints]]:
        """Slices of the Services that have no selector, and this port."""
        values = [version.value for each in self._services for version in each]
        found = {(s.namespace, s.name): s for s in values if not s.selector and any(True for _ in self._ports(s))}
        return [each for service in found.values() for each in self._slices(service)]

    def _service_changes(self, service: Versions[Service]) -> Iterator[int]:
        yield from changes(service, self._guard)
        if any(not version.value.selector for version in service):
            yield from self._slice_changes(service)

    def _slice_changes(self, service: Versions[Service]) -> Iterator[int]:
        until = self._inventory.index.past.looked_until
        yield from () if until is None else (until + 1,)
        for each in self._slices(service[0].value):
            yield from changes(each, self._guard)
            yield from () if each[0].looked is None else (each[0].looked,)

    def _serving(self, version: Version[Service], time: int) -> list[Pod]:
        """Pods that were there, without those that are listed as not ready by what was seen before and after."""
        selected, past = self._pods[id(version)], self._inventory.index.past
        pods = selected.there(time)
        if not selected.by_slices or time > (past.looked_until or _EVER[0]):
            return pods
        ready: set[str] = set()
        listed: set[str] = set()
        for each in self._slices(version.value):
            if each[0].looked is None or time < each[0].looked:
                continue
            listed.update(backend.pod for v in each for backend in v.value.backends)
            found, _ = possible(each, time, self._guard)
            ready.update(backend.pod for v in found for backend in v.value.backends if backend.ready)
        kept = [p for p in pods if (name := f"{p.namespace}/{p.name}") in ready or name not in listed]
        # A Service none of whose pods is ready leads to whichever becomes so first.
        return kept or pods

    def _listed(self, endpoints: Versions[Endpoints], port: ServicePort, time: int) -> set[Targets]:
        found, absent = possible(endpoints, time, self._guard)
        options = {self._endpoints(version, port, time) for version in found}
        return options | {()} if absent or not found else options

    def _endpoints(self, version: Version[Endpoints], port: ServicePort, time: int) -> Targets:
        """Where one form of a slice leads; of very many endpoints one of each kind."""
        key = (id(version), port)
        known = self._told.get(key)
        if known is None:
            targets: dict[object, Target] = {}
            for backend in version.value.backends:
                if (backend.port_name, backend.protocol) != (port.name, port.protocol):
                    continue
                if backend.address.version == self._family:
                    pod = self._pod_of(backend, time)
                    kind = _kind(pod) if pod is not None and self._many else (backend.pod, backend.address)
                    targets.setdefault((kind, backend.port), Target(pod, backend.address, backend.port))
            known = _sorted(targets.values())
            if not any(self._varies(backend) for backend in version.value.backends):
                self._told[key] = known
        return known

    def _holders(self, backend: Backend) -> Sequence[Pod]:
        """Pods that may be meant by an endpoint, in the order of their start."""
        held = self._inventory.index.held_by.get(backend.address, ())
        if not backend.pod:
            return held
        namespace, _, name = backend.pod.partition("/")
        named = [pod for pod in held if (pod.namespace, pod.name) == (namespace, name)]
        # On the host's network a pod holds no address.
        other = None if named else self._inventory.pod(namespace, name)
        return named if other is None else [other]

    def _varies(self, backend: Backend) -> bool:
        """Whether it depends on the time who is meant: a name can be used again, by another workload's pod."""
        holders = self._holders(backend)
        return len({_kind(pod) for pod in holders}) > 1 if backend.pod else bool(holders)

    def _pod_of(self, backend: Backend, time: int) -> Pod | None:
        holders = self._holders(backend)
        present = [pod for pod in holders if there(pod, time)]
        if backend.pod:
            # Of several of one name only the last one is still there.
            return (present or holders)[-1] if holders else None
        return present[0] if len(present) == 1 else None


def _sorted(targets: Iterable[Target]) -> Targets:
    return tuple(sorted(set(targets), key=target_key))


def _moments(pod: Pod) -> Iterator[int]:
    """Times from which a pod is there, is so no more for sure, and is there no more."""
    yield from () if pod.started is None else (pod.started,)
    yield from (time + 1 for time in (_sure_until(pod), ended_by(pod)) if time is not None)


def _one_at_a_time(targets: Sequence[Target], time: int) -> tuple[Targets, ...]:
    """A node's port is one pod's: where one is there for sure, others that may have gone by then have."""
    sure = _sorted(t for t in targets if t.pod is not None and _sure(t.pod, time))
    if sure or not targets:
        return (sure,)
    pods: dict[int, list[Target]] = {}
    for target in targets:
        pods.setdefault(id(target.pod), []).append(target)
    return tuple(_sorted(each) for each in pods.values())


def _union(spans: Sequence[tuple[int | None, int | None]]) -> Iterator[int]:
    """Where times covered by spans begin, and where they are over."""
    end: int | None = None
    for start, stop in sorted((_EVER[0] if a is None else a, _EVER[1] if b is None else b) for a, b in spans):
        if end is None or start > end + 1:
            if end is not None:
                yield end + 1
            yield start
            end = stop
        else:
            end = max(end, stop)
    if end is not None:
        yield end + 1
