# Optional: every recipe is one plain command, to be run in an environment with the dev group.

# Everything CI does, in throwaway environments
default:
    .ci/run

# The checks without the tests, in this environment
lint:
    ruff check
    ruff format --check
    mypy
    pyright
    lint-imports --no-logo

# What ruff can repair
fix:
    ruff check --fix
    ruff format

# The fast suites; `just test -m slow` for the others
test *args:
    pytest {{args}}
