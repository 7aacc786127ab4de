"""The command that repeats a run, from what its folder says of it."""

import shlex
from collections.abc import Mapping
from typing import Any

from llm_app.remote.address import REMOTE

N_BOOTSTRAP = 100_000  # what `benchmark` takes if nothing is said
PROGRAM = ("python", "-m", "llm_app")


def arguments_of(spec: Mapping[str, Any]) -> list[str]:
    """The command `benchmark` with every option of the run that is not a default."""
    model, options = spec["model"], spec["options"]
    arguments = ["benchmark", f"--model={model['name']}"]
    if model["adapter_name"] is not None:
        arguments.append(f"--adapter={model['adapter_name']}")
    if model["precision"] != REMOTE:  # a model on another server is as that server has it
        arguments.append(f"--precision={model['precision']}")
        if model.get("device"):  # runs of earlier versions do not say
            arguments.append(f"--device={model['device']}")
        arguments.append(f"--context-length={spec['context']}")
    arguments.append(f"--tasks={','.join(spec['asked'])}")
    # 0 shots and seed 0 are not the same as none.
    for flag, name in (("--shots", "n_shots"), ("--limit", "limit"), ("--seed", "seed")):
        if options[name] is not None:
            arguments.append(f"{flag}={options[name]}")
    if options.get("n_bootstrap", N_BOOTSTRAP) != N_BOOTSTRAP:
        arguments.append(f"--bootstrap={options['n_bootstrap']}")
    for flag, name in (("--chat-template", "uses_chat_template"), ("--allow-code-execution", "allows_code")):
        if options.get(name):
            arguments.append(flag)
    return arguments


def command_of(spec: Mapping[str, Any]) -> str:
    """The same for a shell: whatever a name holds, it stays one argument and starts no other program."""
    return shlex.join([*PROGRAM, *arguments_of(spec)])
