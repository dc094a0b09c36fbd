# Input functions of the detectors, and of the stand-ins that they and the judges may run on; kept apart from common.smk
# for its length.
from polyalign.detection.settings import DETECTORS

STAND_INS = {name: model.stand_in for name, model in CFG.models.items() if model.stand_in}


def scoring_model(lang, key):
    """Manifest of a model that scores or judges: the stand-ins of the language, or as of any other model."""
    if key in STAND_INS:
        return f"results/stand_ins/{lang}/manifest.json"
    return base_model_of(lang, key)


def scoring_folder(lang, key):
    """Folder of such a model."""
    folder = Path(scoring_model(lang, key)).parent
    return str(folder / key if key in STAND_INS else folder)


def detectors_of_job(wildcards):
    """The job's detector, or all of them for a job of a whole language."""
    return [wildcards.detector] if "detector" in wildcards.keys() else CFG.detectors.run


def keys_of_detectors(detectors):
    """Keys of the models of some detectors."""
    return [key for name in detectors for key in CFG.detectors.models_of(name).values()]


def models_of_detector(wildcards):
    """Manifests of the models of the job's detectors, each once."""
    keys = keys_of_detectors(detectors_of_job(wildcards))
    return list(dict.fromkeys(scoring_model(wildcards.lang, key) for key in keys))


def detector_folders(wildcards):
    """{detector: {role: (folder of its model, precision)}} for the detectors of the job."""
    return {
        detector: {
            role: (scoring_folder(wildcards.lang, key), CFG.models[key].dtype)
            for role, key in CFG.detectors.models_of(detector).items()
        }
        for detector in detectors_of_job(wildcards)
    }


def bases_of_stand_ins(wildcards):
    """Manifests of the models whose tokenizers the stand-ins take."""
    keys = dict.fromkeys(values.like for values in STAND_INS.values())
    return [base_model_of(wildcards.lang, key) for key in keys]


def folders_of_bases(wildcards):
    """{model key: folder} of the same."""
    keys = dict.fromkeys(values.like for values in STAND_INS.values())
    return {key: str(Path(base_model_of(wildcards.lang, key)).parent) for key in keys}
