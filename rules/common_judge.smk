# Input functions of the judges, kept apart from common.smk for its length.


def judge_model(wildcards):
    """Manifest of the job's judge."""
    return detector_model(wildcards.lang, wildcards.judge)


def judge_models(wildcards):
    """Manifests of all judges, each once."""
    return list(dict.fromkeys(detector_model(wildcards.lang, name) for name in CFG.judges.run))


def judge_folder(lang, judge):
    """Folder of a judge's model."""
    folder = Path(detector_model(lang, judge)).parent
    return str(folder / judge if judge in STAND_INS else folder)


def judge_folders(wildcards):
    """{judge: (folder of its model, settings of its engine)} for the judges of the job."""
    names = dict(wildcards.items())
    judges = [names["judge"]] if "judge" in names else CFG.judges.run
    return {
        name: (judge_folder(wildcards.lang, name), CFG.engine_of(name, judge=True))
        for name in judges
    }
