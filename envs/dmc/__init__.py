"""What the families of the DeepMind Control Suite share; they are in `envs/families/dmc_*.py`.

The package dm_control (the extra `dmc`) supplies the models' XML alone: none of its code runs.
"""
