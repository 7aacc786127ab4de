"""python -m llm_app"""

import sys

try:
    from llm_app.cli import INTERRUPTED, main
except KeyboardInterrupt:  # a slow disk gives time for Ctrl+C before the command line could answer it
    sys.exit(130)

if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
