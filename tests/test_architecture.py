"""Rules of the source as a whole, read from its syntax trees.

Dependencies run one way (experiments → {agents, curricula} → envs), nothing draws from a global or
unseeded generator, nothing unpickles. Every rule is shown to catch a planted violation.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "envs": {"envs"},
    "agents": {"agents", "envs"},
    "curricula": {"curricula", "envs"},
    "experiments": {"experiments", "agents", "curricula", "envs"},
    "front door": {"envs"},
}
PACKAGES = set(MAY_IMPORT) - {"front door"}
MODULE_IN_STRING = re.compile(r"quickstudy\.(\w+)[.:][\w.:]*")
"""A lazily imported module, as in an entry point or `import_module(f"quickstudy.envs.{name}")`."""

SEEDED_NUMPY = {
    "Generator",
    "BitGenerator",
    "SeedSequence",
    "PCG64",
    "PCG64DXSM",
    "Philox",
    "SFC64",
    "RandomState",
}
UNSEEDED_WITHOUT_ARGUMENTS = {"numpy.random.default_rng", "numpy.random.RandomState"}
GLOBAL_SEEDS = re.compile(
    r"torch(\.\w+)?\.(manual_seed(_all)?|seed(_all)?|initial_seed|set_rng_state)"
)
DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|rand_like|randn_like|randint_like|normal|bernoulli"
    r"|multinomial|poisson)"
    r"|.*\.(uniform|normal|log_normal|random|exponential|geometric|cauchy|bernoulli)_"
    r"|.*\.((kaiming|xavier)_\w+|orthogonal|trunc_normal|sparse)_"
)
"""Calls that use the global generator unless they are given `generator=`."""
NEVER_SEEDED = re.compile(r"torch\.nn(\.functional)?\.(\w*[dD]ropout\w*)|torch\.distributions\b.*")
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


# --- reading ----------------------------------------------------------------------------------


def aliases(tree):
    """What each imported name stands for: `np` → `numpy`, `randn` → `torch.randn`."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                top = item.name.partition(".")[0]
                names[item.asname or top] = item.name if item.asname else top
        elif isinstance(node, ast.ImportFrom):
            for item in node.names:
                names[item.asname or item.name] = f"{node.module}.{item.name}"
    return names


def dotted(node, names):
    """`np.random.rand` → `numpy.random.rand`; what is not a plain name becomes `?`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def imported_modules(tree):
    """`(line, module)` of every import, `from m import n` as `m.n`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            yield from (
                (node.lineno, f"{dots}{node.module or ''}.{item.name}") for item in node.names
            )


def calls(tree):
    """`(line, dotted name, node)` of every call."""
    names = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, dotted(node.func, names), node


def keyword(call, name):
    """The constant given to a keyword, `...` for another expression, None if it is absent."""
    for item in call.keywords:
        if item.arg == name:
            return item.value.value if isinstance(item.value, ast.Constant) else ...
    return None


# --- rules: each yields (line, message) -------------------------------------------------------


def dependencies(tree, layer):
    used = [(line, name.split(".")[1:2]) for line, name in imported_modules(tree)
            if name.startswith("quickstudy.")]  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = MODULE_IN_STRING.fullmatch(node.value)
            used += [(node.lineno, [match[1]])] if match else []
    for line, packages in used:
        for package in PACKAGES.intersection(packages) - MAY_IMPORT[layer]:
            yield line, f"{layer} must not import quickstudy.{package}"


def bare_imports(tree, layer):
    for line, name in imported_modules(tree):
        if name.startswith(".") or name.partition(".")[0] in PACKAGES:
            yield line, f"import {name!r} by its full name, quickstudy.…"


def global_generators(tree, layer):
    for line, name in imported_modules(tree):
        if name.partition(".")[0] == "random":
            yield line, "the random module is global state; use quickstudy.envs.rng"
    names = aliases(tree)
    for node in ast.walk(tree):
        name = dotted(node, names)
        part = re.fullmatch(r"numpy\.random\.(\w+)", name)
        if part and part[1] not in SEEDED_NUMPY | {"default_rng"}:
            yield node.lineno, f"{name} is global state"
        if GLOBAL_SEEDS.fullmatch(name) or NEVER_SEEDED.fullmatch(name):
            yield node.lineno, f"{name} uses torch's global generator"


def unseeded_draws(tree, layer):
    for line, name, call in calls(tree):
        if DRAWS.fullmatch(name) and keyword(call, "generator") is None:
            yield line, f"{name} without generator="
        if name in UNSEEDED_WITHOUT_ARGUMENTS and not call.args:
            yield line, f"{name.rpartition('.')[2]}() without a seed"
        if name.endswith((".sample", ".rsample")) and not call.args and not call.keywords:
            yield line, f"{name}() draws from no key"


def unpickling(tree, layer):
    for line, name in imported_modules(tree):
        if name.partition(".")[0] in PICKLES:
            yield line, f"{name.partition('.')[0]} runs what it loads"
    for line, name, call in calls(tree):
        if name == "torch.load" and keyword(call, "weights_only") is not True:
            yield line, "torch.load without weights_only=True"
        if name == "numpy.load" and keyword(call, "allow_pickle") not in (None, False):
            yield line, "numpy.load with allow_pickle"


RULES = (dependencies, bare_imports, global_generators, unseeded_draws, unpickling)


def violations(rule, source, layer):
    return [f"{line}: {message}" for line, message in rule(ast.parse(source), layer)]


# --- the source obeys them --------------------------------------------------------------------


def source_files():
    """`(layer, file)` of the four packages and the front door."""
    for package in sorted(PACKAGES):
        yield from ((package, file) for file in sorted((ROOT / package).rglob("*.py")))
    yield from (("front door", file) for file in sorted((ROOT / "src/quickstudy").glob("*.py")))


@pytest.mark.parametrize("rule", RULES)
def test_the_source_obeys(rule):
    found = [
        f"{file.relative_to(ROOT)}:{violation}"
        for layer, file in source_files()
        for violation in violations(rule, file.read_text(), layer)
    ]
    assert not found, "\n".join(["", *found])


def test_all_layers_are_read():
    """A rule that looks at no files would pass."""
    files = list(source_files())
    assert {layer for layer, _ in files} == set(MAY_IMPORT)
    assert ("envs", ROOT / "envs/rng.py") in files
    assert ("front door", ROOT / "src/quickstudy/__init__.py") in files


def test_there_is_no_utils():
    """Code lives with what it is about."""
    names = {file.stem for _, file in source_files()} | {f.parent.name for _, f in source_files()}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


# --- and the rules catch what they are for ----------------------------------------------------

PLANTED = [
    (dependencies, "envs", "import quickstudy.agents.learner"),
    (dependencies, "envs", "from quickstudy.experiments import train"),
    (dependencies, "envs", "from quickstudy import curricula"),
    (dependencies, "envs", "def f():\n    from quickstudy.agents.models import gru"),
    (dependencies, "agents", "from quickstudy.curricula.teacher import Teacher"),
    (dependencies, "curricula", "from quickstudy.agents.agent import Agent"),
    (dependencies, "curricula", "import quickstudy.experiments"),
    (dependencies, "agents", "import_module(f'quickstudy.curricula.{name}')"),
    (dependencies, "front door", "entry_point = 'quickstudy.experiments.cli:main'"),
    (bare_imports, "agents", "import envs"),
    (bare_imports, "agents", "from envs.rng import mix"),
    (bare_imports, "experiments", "from agents import learner"),
    (bare_imports, "experiments", "from . import train"),
    (global_generators, "envs", "import random"),
    (global_generators, "envs", "from random import shuffle"),
    (global_generators, "envs", "import numpy as np\nnp.random.seed(0)"),
    (global_generators, "envs", "import numpy as np\nx = np.random.rand(3)"),
    (global_generators, "envs", "import numpy as np\ndraw = np.random.normal"),
    (global_generators, "envs", "import numpy.random as npr\nnpr.shuffle(x)"),
    (global_generators, "envs", "from numpy.random import rand\nrand(3)"),
    (global_generators, "envs", "from numpy import random\nrandom.rand(3)"),
    (unseeded_draws, "envs", "import numpy as np\nnp.random.default_rng()"),
    (unseeded_draws, "envs", "from numpy.random import RandomState\nRandomState()"),
    (global_generators, "envs", "import torch\ntorch.manual_seed(0)"),
    (global_generators, "envs", "import torch\ntorch.cuda.manual_seed_all(0)"),
    (global_generators, "envs", "import torch\ntorch.random.manual_seed(0)"),
    (unseeded_draws, "envs", "import torch\nx = torch.rand(3)"),
    (unseeded_draws, "envs", "import torch as th\nx = th.randn(3, device='cpu')"),
    (unseeded_draws, "envs", "from torch import randperm\nrandperm(4)"),
    (unseeded_draws, "envs", "import torch\ntorch.rand_like(x)"),
    (unseeded_draws, "envs", "import torch\ntorch.multinomial(p, 1)"),
    (unseeded_draws, "envs", "x.uniform_(0, 1)"),
    (unseeded_draws, "envs", "layer.weight.data.normal_()"),
    (unseeded_draws, "envs", "torch.empty(3).uniform_()"),
    (unseeded_draws, "envs", "from torch import nn\nnn.init.orthogonal_(w)"),
    (unseeded_draws, "envs", "from torch.nn import init\ninit.kaiming_uniform_(w, a=5)"),
    (global_generators, "envs", "from torch import nn\nnn.Dropout(0.1)"),
    (global_generators, "envs", "import torch.nn.functional as F\nF.dropout(x)"),
    (global_generators, "envs", "from torch.distributions import Normal\nNormal(0, 1)"),
    (unseeded_draws, "envs", "action = env.action_space.sample()"),
    (unpickling, "experiments", "import pickle"),
    (unpickling, "experiments", "from cloudpickle import dumps"),
    (unpickling, "experiments", "import torch\ntorch.load(path)"),
    (unpickling, "experiments", "import torch\ntorch.load(path, weights_only=False)"),
    (unpickling, "experiments", "from torch import load\nload(path, weights_only=flag)"),
    (unpickling, "experiments", "import numpy as np\nnp.load(path, allow_pickle=True)"),
]

ALLOWED = [
    (dependencies, "experiments", "from quickstudy.curricula import teacher"),
    (dependencies, "agents", "from quickstudy.envs import rng"),
    (dependencies, "envs", "from quickstudy import __version__"),
    (dependencies, "envs", '"""Used by quickstudy.agents.learner, see there."""'),
    (dependencies, "front door", "entry_point = 'quickstudy.envs.gymnasium_env:FamilyEnv'"),
    (bare_imports, "agents", "from quickstudy.envs.rng import mix"),
    (unseeded_draws, "envs", "from quickstudy.envs import rng\nrng.uniform(key, 3)"),
    (global_generators, "envs", "import numpy as np\nx: np.random.Generator"),
    (global_generators, "envs", "import numpy as np\nnp.random.default_rng(3).normal()"),
    (unseeded_draws, "envs", "import numpy as np\nnp.random.default_rng(3).normal()"),
    (global_generators, "envs", "from numpy.random import RandomState\nRandomState(3).uniform()"),
    (unseeded_draws, "envs", "from numpy.random import RandomState\nRandomState(3).uniform()"),
    (global_generators, "envs", "import torch\ntorch.Generator().manual_seed(3)"),
    (unseeded_draws, "envs", "import torch\ntorch.randn(3, generator=g)"),
    (unseeded_draws, "envs", "weight.uniform_(-1, 1, generator=g)"),
    (unseeded_draws, "envs", "from torch import nn\nnn.init.zeros_(b)"),
    (unseeded_draws, "envs", "task = space.sample(split, key_N)"),
    (unpickling, "experiments", "import torch\ntorch.load(path, weights_only=True)"),
    (unpickling, "experiments", "import numpy as np\nnp.load(path)"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "layer", "source"), PLANTED)
def test_a_planted_violation_is_caught(rule, layer, source):
    assert violations(rule, source, layer)


@pytest.mark.parametrize(("rule", "layer", "source"), ALLOWED)
def test_what_is_allowed_passes(rule, layer, source):
    assert not violations(rule, source, layer)
