# Input functions of the detectors, kept apart from common.smk for its length.
from polyalign.detection.settings import DETECTORS

STAND_INS = {name: model.stand_in for name, model in CFG.models.items() if model.stand_in}


def detector_model(lang, model):
    """Manifest of a detector's model: one of the stand-ins of the language, or as for any other model."""
    if model in STAND_INS:
        return f"results/stand_ins/{lang}/manifest.json"
    return base_model_of(lang, model)


def models_of_detectors(lang, detectors):
    """Manifests of all models of some detectors, each once."""
    keys = [key for name in detectors for key in CFG.detectors.models_of(name).values()]
    return list(dict.fromkeys(detector_model(lang, key) for key in keys))


def models_of_detector(wildcards):
    """Manifests of the models of the job's detector, or of all detectors for a job of a whole language."""
    names = dict(wildcards.items())
    return models_of_detectors(
        wildcards.lang, [names["detector"]] if "detector" in names else CFG.detectors.run
    )


def detector_folders(wildcards):
    """{detector: {role: (folder of its model, precision)}} for the detectors of the job."""
    names = dict(wildcards.items())
    found = {}
    for detector in [names["detector"]] if "detector" in names else CFG.detectors.run:
        found[detector] = {}
        for role, key in CFG.detectors.models_of(detector).items():
            folder = Path(detector_model(wildcards.lang, key)).parent
            folder = folder / key if key in STAND_INS else folder
            found[detector][role] = (str(folder), CFG.models[key].dtype)
    return found


def bases_of_stand_ins(wildcards):
    """Manifests of the models whose tokenizers the stand-ins take."""
    keys = dict.fromkeys(values.like for values in STAND_INS.values())
    return [base_model_of(wildcards.lang, key) for key in keys]


def folders_of_bases(wildcards):
    """{model key: folder} of the same."""
    keys = dict.fromkeys(values.like for values in STAND_INS.values())
    return {key: str(Path(base_model_of(wildcards.lang, key)).parent) for key in keys}


def detected_cells(wildcards):
    """Cells of the grid of the language, in table order."""
    return expand(
        "{lang}_{method}_{model}",
        lang=wildcards.lang,
        model=CFG.grid.models,
        method=CFG.grid.methods,
    )


def detected_predictions(wildcards):
    """Predictions of these cells."""
    return expand("results/predictions/{cell}/test.jsonl", cell=detected_cells(wildcards))
