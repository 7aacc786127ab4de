"""Model and adapter files made by an attacker: nothing in them runs, reaches the network or blocks the program."""

import importlib.util
import json
import pickle
import re
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import llm_app
from llm_app.engine.adapter_file import read_adapter
from llm_app.engine.template import check_template
from llm_app.engine.weights import check_folder, read_header, refuse_pickle
from llm_app.errors import ModelRejected

PACKAGE = Path(llm_app.__file__).parent


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def set_fields(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def evil_code(folder: Path, marker: Path) -> None:
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\nclass Tokenizer: pass\n")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}",
        "{{ (cycler|attr('__init__'))['__globals__'].os.system('touch MARKER') }}",
        "{{ (cycler|attr('_' ~ '_init_' ~ '_')|attr('_' ~ '_globals_' ~ '_')).os.system('touch MARKER') }}",
        "{{ '{0.__class__.__base__}'.format(messages) }}",
        "{% if messages|length > 9999 %}{{ raise_exception.__globals__ }}{% endif %}",
        "{% include '/etc/passwd' %}",
        "{% set ns = namespace(__class__=1) %}",
    ],
)
def test_A1_a_template_that_reaches_for_python_is_rejected_and_runs_nothing(source: str, marker: Path) -> None:
    with pytest.raises(ModelRejected, match="chat template rejected: "):
        check_template(source.replace("MARKER", str(marker)))
    assert not marker.exists()


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 10 ** 10 ** 8 }}",
        "{% set ns = namespace(x='a' * 99999) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'a' * 999 }}{% endfor %}",
    ],
)
def test_A2_an_endless_or_gigantic_template_is_rejected_within_three_seconds(source: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ModelRejected, match="chat template rejected: it "):
        check_template(source)
    assert time.perf_counter() - start < 3.0


def test_A1_templates_are_rendered_by_the_immutable_sandbox_only() -> None:
    pattern = re.compile(r"jinja2\.(Environment|Template)\(|import .*\bEnvironment\b|(?<!Chat)(?<!\.)\bTemplate\(")
    found = [f"{file.name}: {line.strip()}" for file in PACKAGE.rglob("*.py")
             for line in file.read_text().splitlines()
             if pattern.search(line.replace("ImmutableSandboxedEnvironment", ""))]
    assert found == []


def test_A3_torch_is_newer_than_its_known_holes_in_unpickling() -> None:
    assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.PTH", "model.ckpt", "model.pkl", "x.safetensors"])
def test_A3_pickles_are_refused_by_extension_and_by_their_first_bytes(name: str, tmp_path: Path, marker: Path) -> None:
    file = tmp_path / name
    for data in (pickle.dumps(Touch(marker)), pickle.dumps(Touch(marker), protocol=2)):
        file.write_bytes(data)
        with pytest.raises(ModelRejected, match="only safetensors/GGUF are accepted"):
            refuse_pickle(file)
    torch.save(Touch(marker), file)
    with pytest.raises(ModelRejected, match="only safetensors/GGUF are accepted"):
        refuse_pickle(file)
    assert not marker.exists()


def test_A3_a_pickle_called_safetensors_is_called_a_pickle(folder: Path, marker: Path) -> None:
    torch.save(Touch(marker), folder / "model.safetensors")
    with pytest.raises(ModelRejected, match="model.safetensors is a pickle file"):
        check_folder(folder)
    assert not marker.exists()


def test_A4_L11_a_folder_with_pickle_weights_only_is_refused_and_nothing_unpickled(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(Touch(marker), folder / "pytorch_model.bin")
    with pytest.raises(ModelRejected, match="only safetensors/GGUF are accepted"):
        check_folder(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("where", ["top", "nested"])
def test_A5_L10_auto_map_anywhere_is_refused_and_nothing_executed(
    name: str, where: str, folder: Path, marker: Path, no_sockets: None
) -> None:
    evil_code(folder, marker)
    auto_map = {"AutoModelForCausalLM": "modeling_evil.Model", "AutoTokenizer": ["modeling_evil.Tokenizer", None]}
    set_fields(folder / name, **({"auto_map": auto_map} if where == "top" else {"text": [{"auto_map": auto_map}]}))
    with pytest.raises(ModelRejected, match=f"{name} has auto_map.*custom code, which this server does not run"):
        check_folder(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_attn_implementation_internal", "attacker/kernel"),
        ("attn_implementation", "attacker/kernel"),
        ("_attn_implementation", {"": "attacker/kernel:main"}),
        ("_experts_implementation", "attacker/kernel"),
    ],
)
def test_A5_attention_code_from_the_hub_is_refused(field: str, value: object, folder: Path, no_sockets: None) -> None:
    set_fields(folder / "config.json", **{field: value})
    with pytest.raises(ModelRejected, match="custom code"):
        check_folder(folder)


def test_A5_the_package_that_fetches_kernels_is_not_installed() -> None:
    assert importlib.util.find_spec("kernels") is None


def write_header(file: Path, header: dict[str, Any] | bytes, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def tensor(begin: int, end: int, **fields: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]} | fields


@pytest.mark.parametrize(
    ("header", "n_data"),
    [
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, 6),
        ({"a": tensor(0, 4), "b": tensor(5, 6)}, 6),
        ({"a": tensor(1, 4)}, 4),
        ({"a": tensor(0, 4)}, 5),
        ({"a": tensor(0, 4, shape=[5])}, 4),
        ({"a": tensor(0, 4, shape=[-4])}, 4),
        ({"a": tensor(0, 4, shape=[True, 4])}, 4),
        ({"a": tensor(0, 4, shape=[2**40, 2**40])}, 4),
        ({"a": tensor(0, 4, dtype="OBJECT")}, 4),
        ({"a": tensor(0, 4, data_offsets=[4, 0])}, 4),
        ({"a": tensor(0, 4, data_offsets=[0, 4, 8])}, 4),
        ({"a": tensor(0, 4, data_offsets=[0.0, 4.0])}, 4),
        ({"a": None}, 0),
        (b'{"a":%s,"a":%s}' % ((json.dumps(tensor(0, 0)).encode(),) * 2), 0),
    ],
    ids=["overlap", "gap", "late start", "uncovered", "shape", "negative", "bool", "huge", "dtype", "backwards",
         "three offsets", "floats", "null", "twice"],
)
def test_A10_headers_that_do_not_add_up_are_refused(header: Any, n_data: int, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="x.safetensors is not a valid safetensors file"):
        read_header(write_header(tmp_path / "x.safetensors", header, b"\0" * n_data))


def test_A10_a_header_of_more_than_ten_megabytes_is_refused(tmp_path: Path) -> None:
    file = write_header(tmp_path / "x.safetensors", {"__metadata__": {"bloat": "x" * 10_000_001}})
    with pytest.raises(ModelRejected, match=r"x\.safetensors is not a valid .*10,000,000 are the limit"):
        read_header(file)


@pytest.mark.parametrize("n_tensors", [20_001, 100_000])
def test_A10_more_than_twenty_thousand_tensors_are_refused(n_tensors: int, tmp_path: Path) -> None:
    file = write_header(tmp_path / "x.safetensors", {str(i): tensor(0, 0) for i in range(n_tensors)})
    with pytest.raises(ModelRejected, match="x.safetensors describes"):
        read_header(file)


@pytest.mark.parametrize("library", ["os", "evil_package", "transformers_evil", "torch"])
def test_A11_an_adapter_that_names_a_library_is_refused(library: str, adapter: Path) -> None:
    mapping = {"base_model_class": "system", "parent_library": library}
    set_fields(adapter / "adapter_config.json", auto_mapping=mapping, task_type=None)
    with pytest.raises(ModelRejected, match=f"auto_mapping names the library '{library}'"):
        read_adapter(adapter)


@pytest.mark.parametrize("targets", ["(\\w+\\.?)+#", ".*", ["(\\w+\\.?)+#"], ["q_proj", 3], [], None, {"a": 1}])
def test_A11_target_modules_are_plain_names_never_patterns(targets: object, adapter: Path) -> None:
    set_fields(adapter / "adapter_config.json", target_modules=targets)
    start = time.perf_counter()
    with pytest.raises(ModelRejected, match="target_modules is not a list of plain module names"):
        read_adapter(adapter)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_A11_rank_and_alpha_patterns_are_plain_names_too(field: str, adapter: Path) -> None:
    set_fields(adapter / "adapter_config.json", **{field: {"(\\w+\\.?)+#": 4}})
    with pytest.raises(ModelRejected, match=f"{field} is not a table of plain module names"):
        read_adapter(adapter)


def test_A11_an_adapter_with_pickle_weights_only_is_refused_and_nothing_unpickled(adapter: Path, marker: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(Touch(marker), adapter / "adapter_model.bin")
    with pytest.raises(ModelRejected, match=r"adapter_model\.bin is a pickle file"):
        read_adapter(adapter)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("megatron_config", {"model_parallel": True}),
        ("megatron_core", "os"),
        ("eva_config", {"rho": 2.0}),
        ("corda_config", {"cache_file": "/etc/passwd"}),
        ("brand_new_feature", True),
    ],
)
def test_A11_unknown_fields_of_an_adapter_are_refused(field: str, value: object, adapter: Path) -> None:
    set_fields(adapter / "adapter_config.json", **{field: value})
    with pytest.raises(ModelRejected, match=f"sets {field}, which does not run here"):
        read_adapter(adapter)
