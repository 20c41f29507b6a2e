"""placeholder"""
from pathlib import Path
TITLE = "planning 1,000,000 tags in 10,000 repositories"
def report(directory: Path) -> str:
    return ""
