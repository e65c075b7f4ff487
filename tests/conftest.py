"""For all tests: the developer's own environment must not decide what they see."""

import os

from app.core.config import Settings

for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)
# A .env in the working directory is the developer's, too.
Settings.model_config["env_file"] = None
