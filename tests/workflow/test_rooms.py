"""Data flow one way: no stage of the package imports a later one."""

import ast
from pathlib import Path

FOUNDATION = {
    "answer_texts",
    "archives",
    "bucket_weights",
    "digest",
    "environments",
    "errors",
    "files",
    "job",
    "manifest",
    "markdown",
    "methods",
    "model_folders",
    "progress",
    "predictions",
    "prompts",
    "published",
    "records",
    "settings",
    "slim_import",
    "throughput",
    "web_page",
}
STAGES = (
    {
        "corpora",
        "data",
        "downloads",
        "demo",
        "model_download",
        "tiny_model",
    },
    {"features"},
    {"references", "support"},
    {"critic", "hdpo_weights", "pair_views", "pairs", "training"},
    {"inference", "released", "released_predictions"},
    {"metrics"},
    {"detection", "judge"},
    {"audit", "overview", "plots", "tables"},
    {"human_eval"},
    {"embeddings"},
    {
        "base_models",
        "cli",
        "config",
        "config_docs",
        "config_sections",
        "workflow",
        "__main__",
    },
)
ORDER = dict.fromkeys(FOUNDATION, 0) | {
    name: position for position, names in enumerate(STAGES, start=1) for name in names
}


def room(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= (
                {f"polyalign.{alias.name}" for alias in node.names}
                if node.module == "polyalign"
                else {node.module}
            )
    return {name for name in names if name.startswith("polyalign.") and not name.startswith("polyalign.__")}


def test_nothing_imports_backwards(root):
    wrong = []
    for path in sorted((root / "polyalign").rglob("*.py")):
        own = path.relative_to(root / "polyalign").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in ORDER, f"polyalign/{own}: say in this test which stage it belongs to"
        wrong += [
            f"{path.relative_to(root)} imports {name}"
            for name in imported(path)
            if ORDER[room(name)] > ORDER[own]
        ]
    assert wrong == []


def test_modules_are_of_readable_size(root):
    long = [
        str(path) for path in (root / "polyalign").rglob("*.py") if len(path.read_text().splitlines()) > 500
    ]
    assert long == []
    assert len((root / "Snakefile").read_text().splitlines()) <= 80
    assert all(len(path.read_text().splitlines()) <= 300 for path in (root / "rules").glob("*.smk"))
