"""What nightly tests share with those of the workflow."""

from workflow.conftest import finished, project

__all__ = ["finished", "project"]
