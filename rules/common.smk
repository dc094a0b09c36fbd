# What the other files here share: the typed config, wildcard constraints, code digests and input functions.
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from polyalign.config import check_targets, load_config
from polyalign.critic.recipe import resolve_critic_recipe
from polyalign.digest import code_digest as digest_of
from polyalign.digest import environment_digest as digest_of_environment
from polyalign.workflow.environment_files import file_name
from polyalign.environments import packages_digest
from polyalign.errors import EXIT_CODE, PolyAlignError
from polyalign.features.nltk_data import load_packages
from polyalign.files import sha256_file
from polyalign.methods import METHODS, TRAINED_METHODS
from polyalign.prompts import load_chat_template
from polyalign.records import SPLITS, VIEW_SPLITS
from polyalign.workflow.run_lock import check_writable, hold_folder, sweep
from polyalign.training.recipe import resolve_recipe

ROOT = Path(workflow.basedir)

# Scripts run in their stage's own environment; the package always comes from this checkout.
os.environ.update(
    PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
)

# Only the rules that fetch may reach the hub; every other job works with what is on disk. Who sets the variable
# decides for all of them.
if "HF_HUB_OFFLINE" not in os.environ:
    os.environ.update(HF_HUB_OFFLINE="1", POLYALIGN_OFFLINE="1")


def or_exit(function, *arguments, **options):
    """Call `function`; a problem in what the user gave ends the run with its one line, not a traceback."""
    try:
        return function(*arguments, **options)
    except PolyAlignError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CODE)


if workflow.is_main_process and not workflow.output_settings.dryrun:
    or_exit(check_writable, Path.cwd())

# Files of --configfile come before the one the Snakefile names; any of them may hold a mistake.
CONFIG_FILES = " + ".join(os.path.relpath(file) for file in reversed(workflow.configfiles))
CFG = or_exit(load_config, config, CONFIG_FILES)
or_exit(check_targets, sys.argv[1:], CFG)

ENVIRONMENTS = {stage: str(ROOT / folder) for stage, folder in CFG.environments.items()}
if (
    workflow.is_main_process
    and CFG.needs_vllm
    and not ("infer" in ENVIRONMENTS or find_spec("vllm"))
):
    # With conda the rule's own environment has it; whether there is conda is not known here.
    print(
        "Without conda, inference needs an environment with vLLM (docs/inference.md, Environments):"
        " name it in `environments`, or set inference.engine to transformers.",
        file=sys.stderr,
    )


onstart:
    if or_exit(hold_folder, Path.cwd()):
        sweep(Path.cwd())


# Of the rules from training to reports, on which the longest chain of jobs leads, over all that only reads answers.
PRIORITY = 1

# What is merged and exported beside train, val and test; nothing trains or is evaluated on it.
EXTRA_SPLITS = ["validation2"] if CFG.data.include_validation2 else []


def one_of(names):
    """A wildcard constraint that takes these names alone; without names it takes nothing."""
    return "|".join(name.replace(".", r"\.") for name in names) or "(?!)"


wildcard_constraints:
    lang="|".join(CFG.corpora),
    method="|".join(METHODS),
    model=one_of(CFG.models),
    scorer=one_of(name for name in CFG.models if CFG.original_of(name) == name),
    dataset="|".join(dataset for datasets in CFG.corpora.values() for dataset in datasets),
    split="train|val|test",
    scatteritem=r"\d+-of-\d+",


def code_digest(rule_name):
    """A function of the wildcards: digest of the rule's script and of every polyalign module that it imports. Taken
    where there is a job, as each job of a cluster reads all rules and runs one."""
    script = str(ROOT / "workflow_scripts" / f"{rule_name}.py")
    return lambda wildcards: digest_of(script)


def conda_file(stage):
    """The stage's conda file, for the GPUs that the configuration has, or for CPUs."""
    return str(ROOT / "envs" / file_name(stage, CFG.accelerator if CFG.gpus else "cpu"))


def environment_digest(stage):
    """What the stage's environment file asks for, or what is installed in the virtual environment that the
    configuration names for it, so that a change of either makes the stage's results stale."""
    if stage in ENVIRONMENTS:
        return f"{stage} environment {or_exit(packages_digest, ENVIRONMENTS[stage])[:16]}"
    return digest_of_environment(conda_file(stage))


def growing(amount):
    """A resource that grows with each retry: a job killed for memory or time comes back with more."""
    return lambda wildcards, attempt: amount * attempt


def file_digest(path):
    """Digest of a file of the checkout that a rule reads; as an input its time stamp would make fresh clones stale."""
    return sha256_file(ROOT / path)


def resolved_recipe(method, model):
    """The recipe of a method for a model, overrides applied, as plain values."""
    resolve = resolve_critic_recipe if method == "critic" else resolve_recipe
    name = getattr(CFG.recipes, method)
    return or_exit(resolve, name, CFG.overrides_of(method, model))


# Of every cell that the grid can ask for, so that a mistake ends the run before any job.
RECIPES = {
    (method, model): resolved_recipe(method, model)
    for method in [*TRAINED_METHODS, "critic"]
    for model in CFG.grid.models
}


def recipe_of(method):
    """A function of the wildcards: the recipe of a trained method, or the critic, for the cell's model."""

    def recipe(wildcards):
        key = method, wildcards.model
        return RECIPES[key] if key in RECIPES else resolved_recipe(*key)

    return recipe


def critic_target_form(wildcards):
    """Form of the critic's targets."""
    return recipe_of("critic")(wildcards)["target_form"]


def critic_weights(wildcards):
    """Settings of the HDPO weights."""
    return recipe_of("critic")(wildcards)["weights"]


def base_model_of(lang, model):
    """Manifest of a base model, the same for every seed: downloaded, or built here from the language's training text."""
    model = CFG.original_of(model)
    if CFG.models[model].build is None:
        return f"resources/models/{model}/manifest.json"
    return f"results/base_models/{lang}_{model}/manifest.json"


def base_model(wildcards):
    """Manifest of the cell's base model."""
    return base_model_of(wildcards.lang, wildcards.model)


def scorer_model(wildcards):
    """Manifest of the base model that scores LM features."""
    return base_model_of(wildcards.lang, wildcards.scorer)


def scorer_of(wildcards):
    """Name of the model that scores LM features for the cell."""
    return CFG.scorer_of(wildcards.model)


def scored(pattern):
    """A function of the wildcards: a path that is of the cell's scorer."""
    return lambda wildcards: pattern.format(scorer=scorer_of(wildcards), **wildcards)


def policy_model(wildcards):
    """Manifest of the model that answers for the cell: its checkpoint, or the one that a mere prompt is put to."""
    method, spec = wildcards.method, METHODS[wildcards.method]
    if not spec.is_trained:
        # Another prompt to another method's model, or to the base model.
        method = next(iter(spec.made_from), None)
    if method is None:
        return base_model(wildcards)
    return f"results/checkpoints/{wildcards.lang}_{method}_{wildcards.model}/manifest.json"


def rows_to_answer(wildcards):
    """The whole test split; of train and val the rows that make pairs."""
    if wildcards.split == "test":
        return f"results/splits/{wildcards.lang}/test.parquet"
    return f"results/pairs/{wildcards.lang}/rows_{wildcards.split}.parquet"


def decoding_of(wildcards):
    """Decoding of the cell's method, as plain values."""
    return CFG.decoding_of(wildcards.method, wildcards.model).model_dump()


def engine_of(wildcards):
    """Settings of the inference engine for the cell's model, as plain values."""
    return CFG.engine_of(wildcards.model)


def max_length_of(wildcards):
    """Tokens of prompt and answer together that training of the cell's model keeps."""
    return CFG.models[wildcards.model].max_length


def build_of(wildcards):
    """Sizes and pretraining of a model that is built here, as plain values."""
    return CFG.models[wildcards.model].build.model_dump()


def hub_of(wildcards):
    """Hub repository of a model."""
    return CFG.models[wildcards.model].hub


def revision_of(wildcards):
    """Branch, tag or commit of a model's hub repository."""
    return CFG.models[wildcards.model].revision


def chat_template_of(wildcards):
    """Text of a model's chat template, so that an edit of the file makes what was made with it stale."""
    name = CFG.models[wildcards.model].chat_template
    return None if name is None else or_exit(load_chat_template, name)


def from_checkout(folder):
    """A configured folder as seen from the working directory; a relative one is meant from the checkout."""
    path = Path(folder)
    return str(path) if path.is_absolute() else os.path.relpath(ROOT / path)


def nltk_mirror():
    """The mirror of NLTK data as seen from the working directory, or None."""
    return None if CFG.features.nltk_mirror is None else from_checkout(CFG.features.nltk_mirror)


def sharded(path):
    """A feature table's path; where features are divided into shards, the path of one of them."""
    if CFG.features.shards == 1:
        return path
    folder, name = os.path.split(path)
    stem, suffix = name.split(".", 1)
    return f"{folder}/{stem}.shards/{{scatteritem}}.{suffix}"


def nltk_packages():
    """The registry of NLTK data, so that an edit of it makes the copy stale."""
    return {name: package.model_dump() for name, package in or_exit(load_packages).items()}


def nltk_data(wildcards):
    """Manifest of the NLTK data, where the feature set needs them."""
    return "resources/nltk_data/manifest.json" if CFG.features.set == "paper-v1" else []


def mauve_model(wildcards):
    """Manifest of the model that embeds texts for MAUVE, or nothing where the configuration leaves MAUVE out."""
    name = CFG.metrics.mauve.model
    return [] if name is None else base_model_of(wildcards.lang, name)


include: "common_data.smk"
include: "common_released.smk"
include: "common_reports.smk"
include: "common_detection.smk"
include: "common_embeddings.smk"
include: "common_judge.smk"
include: "common_parts.smk"
include: "common_human_eval.smk"
