# Input functions of the judges, kept apart from common.smk for its length.


def judge_model(wildcards):
    """Manifest of the job's judge."""
    return scoring_model(wildcards.lang, wildcards.judge)


def judge_models(wildcards):
    """Manifests of all judges, each once."""
    return list(dict.fromkeys(scoring_model(wildcards.lang, name) for name in CFG.judges.run))


def judge_folders(wildcards):
    """{judge: (folder of its model, settings of its engine)} for the judges of the job."""
    judges = [wildcards.judge] if "judge" in wildcards.keys() else CFG.judges.run
    return {
        name: (scoring_folder(wildcards.lang, name), CFG.engine_of(name, judge=True))
        for name in judges
    }
