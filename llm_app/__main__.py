"""python -m llm_app"""

import sys

from llm_app.cli import main

if __name__ == "__main__":
    sys.exit(main())
