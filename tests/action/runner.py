"""`action.yml` carried out as a runner does: expressions, environment, files for outputs and summary, bash.

Steps with `run:` run for real. Actions of others are recorded with their inputs, and stand-ins say what they would have
left behind: their own code is none of ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.action.expressions import filled, holds

ROOT = Path(__file__).resolve().parent.parent.parent
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


@dataclass
class Job:
    """A job that uses the action once or more. `temp` outlives a use, as on a runner, and may be shared by tests."""

    workspace: Path
    temp: Path
    files: Path
    github: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Used:
    """What a use of the action came to. `log` is what people see, `uploads` are the inputs of other actions."""

    failed: bool
    outputs: Mapping[str, str]
    summary: str
    log: str
    uses: list[tuple[str, Mapping[str, str]]]

    def inputs_of(self, action: str) -> Mapping[str, str] | None:
        """Inputs that an action of others was given, None if its step did not run."""
        found = [given for name, given in self.uses if name.startswith(f"{action}@")]
        assert len(found) < 2
        return found[0] if found else None


def read_action() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def use(job: Job, inputs: Mapping[str, str], *, only: str = "") -> Used:
    """Use the action with these inputs. With `only`, stop after the step of this name."""
    action = read_action()
    if unknown := set(inputs) - set(action["inputs"]):
        raise AssertionError(f"the action has no inputs {sorted(unknown)}")
    contexts: dict[str, Any] = {"github": job.github, "runner": {"temp": str(job.temp)}, "steps": {}}
    given = {}
    for name, about in action["inputs"].items():
        assert not about.get("required") or name in inputs
        given[name] = inputs.get(name, filled(about.get("default", ""), contexts))
    contexts["inputs"] = given
    use = Used(False, {}, "", "", [])
    variables = _variables(job)
    for number, step in enumerate(action["runs"]["steps"]):
        outputs: Mapping[str, str] = {}
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": outputs}
        if not holds(step.get("if", "success()"), contexts, failed=use.failed):
            continue
        if "uses" in step:
            own = {k: filled(v, contexts) if isinstance(v, str) else v for k, v in step.get("with", {}).items()}
            outputs = _stand_in(step["uses"], own, use)
        else:
            assert step["shell"] == "bash", "a composite step says its shell"
            own = {k: filled(v, contexts) for k, v in step.get("env", {}).items()}
            outputs = _run(job, filled(step["run"], contexts), variables | own, number, use)
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": outputs}
        if step["name"] == only:
            return use
    use.outputs = {name: filled(about["value"], contexts) for name, about in action["outputs"].items()}
    return use


def _variables(job: Job) -> dict[str, str]:
    """What every step sees: nothing of the machine but what a runner's image has, too."""
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "http", "HTTP", "no_", "NO_"))}
    usual = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_WORKSPACE": str(job.workspace),
        "HOME": str(job.files),
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(job.temp),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    return kept | usual | dict(job.environment)


def _run(job: Job, script: str, variables: Mapping[str, str], number: int, use: Used) -> Mapping[str, str]:
    names = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH")
    files = {name: job.files / f"{name.lower()}-{number}" for name in names}
    for file in files.values():
        file.write_text("", encoding="utf-8")
    path = job.files / f"step-{number}.sh"
    path.write_text(script, encoding="utf-8")
    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(path)],
        cwd=job.workspace,
        env={**variables, **{name: str(file) for name, file in files.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    use.log += ran.stdout
    use.summary += files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
    # The action changes nothing for the steps of the job that come after it.
    assert files["GITHUB_ENV"].read_text() == files["GITHUB_PATH"].read_text() == ""
    if ran.returncode:
        use.failed = True
        use.log += f"exit code {ran.returncode}\n"
    return file_of_outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8"))


def file_of_outputs(text: str) -> dict[str, str]:
    """`name=value` lines, the last of a name counts; `name<<MARK` up to a line that is the mark."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = []
            for inner in lines:
                if inner == match[2]:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"no end of {match[1]}")
            found[match[1]] = "\n".join(value)
            continue
        name, equals, value_text = line.partition("=")
        assert equals, f"the runner would not take {line!r}"
        found[name] = value_text
    return found


def _stand_in(action: str, given: Mapping[str, Any], use: Used) -> Mapping[str, str]:
    assert PINNED.fullmatch(action), action
    use.uses.append((action, given))
    name = action.partition("@")[0]
    if name == "actions/setup-python":
        return {"python-path": sys.executable}
    if name == "actions/upload-artifact":
        assert any(Path(given["path"]).iterdir())
        assert not re.search(r'[":<>|*?\r\n\\/]', given["name"]), "the service takes no such name"
        return {}
    assert name == "github/codeql-action/upload-sarif", name
    assert Path(given["sarif_file"]).stat().st_size < 10_000_000
    return {}


def commands(log: str) -> list[str]:
    """Lines of a log that the runner takes for commands."""
    found, key = [], ""
    for line in log.splitlines():
        command = line.lstrip()
        if key:
            key = "" if command == f"::{key}::" else key
        elif command.startswith("::stop-commands::"):
            key = command.removeprefix("::stop-commands::")
        elif re.match(r"::[a-z]|##\[", command):
            found.append(command)
    return found
